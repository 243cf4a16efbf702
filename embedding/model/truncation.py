"""Cuts a text at its start, for a caller who would rather keep its end; the prompt stays before it."""

from dataclasses import replace

from embedding.model.engine import Engine, Task, TokenizedText

TAIL_CHARS = 200
"""Characters of a text's end that are looked at for each token of the limit. Only runs of spaces make such tokens."""


def keep_end(engine: Engine, text: str, tokens: TokenizedText, task: Task, prompt: str | None) -> TokenizedText:
    """The longest end of `text` that the model can read whole, on the boundaries of its tokens.

    `tokens` is what `engine` makes of the text under the prompt; where that is whole, it is the answer. The answer's
    `total` is that of the whole text.
    """
    if not tokens.truncated:
        return tokens
    limit = tokens.kept
    (alone,) = engine.tokenize([""], task, prompt)
    tail = text[-TAIL_CHARS * limit :]
    starts = engine.token_starts(tail)
    first = max(0, len(starts) - (limit - alone.total))
    while first < len(starts):
        (kept,) = engine.tokenize([tail[starts[first] :]], task, prompt)
        if not kept.truncated:
            return replace(kept, total=tokens.total, at_least=tokens.at_least)
        first += kept.total - limit  # cut out of its text, a word may come out in more tokens than it had there
    return tokens
