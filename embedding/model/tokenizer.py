"""Texts to token ids: under their task's prompt, and cut at the model's limit."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path

import tokenizers

from embedding.model.engine import Task, Token, TokenizedText
from embedding.model.errors import ModelUnavailable
from embedding.model.fetch.manifest import TOKENIZER, Manifest, TokenizerSettings
from embedding.model.machine import return_freed_memory

# Of a long text, no more is read than gives the model its tokens: first so many characters for each, then more. Where a
# model reads the end of a text, all is read: where a long run of one letter begins decides how its letters are paired.
CHARS_A_TOKEN = 6
MORE = 4
# The tokens next to the cut may be others than in the whole text: in a word of up to 100 characters WordPiece sees
# pieces of it where a longer one is unknown, and merges of byte pairs depend on what follows. Farther away none is.
SPARE_TOKENS = 128


class Tokenizer:
    """A model's own tokenizer for one task. Takes `backend` over: sets its truncation and its padding.

    Raises ModelUnavailable where the model's limit has no room for the special tokens.
    """

    def __init__(self, backend: tokenizers.Tokenizer, task: Task, prompt: str, settings: TokenizerSettings) -> None:
        special_tokens = backend.num_special_tokens_to_add(False) if settings.add_special_tokens else 0
        backend.no_padding()
        if settings.max_tokens is not None:
            if settings.max_tokens <= special_tokens:
                raise ModelUnavailable(f"the model's limit of {settings.max_tokens} tokens leaves no room for a text.")
            backend.enable_truncation(settings.max_tokens, direction=settings.truncation_side)
        else:
            backend.no_truncation()
        backend.encode_special_tokens = settings.split_special_tokens
        self._backend = backend
        self._task = task
        self._prompt = prompt
        self._add_special_tokens = settings.add_special_tokens
        self._special_tokens = special_tokens
        self._reads_whole = not settings.max_tokens or settings.truncation_side == "left"
        self._reads_whole |= isinstance(backend.model, tokenizers.models.Unigram)  # which weighs a text as a whole
        self._spare = max(SPARE_TOKENS, getattr(backend.model, "max_input_chars_per_word", 0) + 28)
        self.max_tokens = settings.max_tokens

    def tokenize(self, texts: Sequence[str], prompt: str | None = None) -> list[TokenizedText]:
        """Each text under the task's prompt, or under `prompt`. What is far beyond the model's limit is not read."""
        before = self._prompt if prompt is None else prompt
        whole = [before + text for text in texts]
        tokenized: dict[int, TokenizedText] = {}
        chars = CHARS_A_TOKEN * ((self.max_tokens or 0) + self._spare)
        while missing := [index for index in range(len(whole)) if index not in tokenized]:
            heads = [whole[index] if self._reads_whole else whole[index][:chars] for index in missing]
            encodings = self._backend.encode_batch_fast(heads, add_special_tokens=self._add_special_tokens)
            for index, head, encoding in zip(missing, heads, encodings, strict=True):
                if len(head) == len(whole[index]):
                    tokenized[index] = self._tokenized(texts[index], encoding, prompt)
                elif self._total(encoding) >= len(encoding) + self._spare:
                    tokenized[index] = self._tokenized(head[len(before) :], encoding, prompt, self._spare)
            chars *= MORE
        return [tokenized[index] for index in range(len(texts))]

    def _tokenized(
        self, text: str, encoding: tokenizers.Encoding, prompt: str | None, uncertain: int = 0
    ) -> TokenizedText:
        """`uncertain`: how many of the last tokens the whole text may not have, where `text` is only its head."""
        kept, total = len(encoding), self._total(encoding)
        if uncertain:
            total = max(kept + 1, total - uncertain)
        return TokenizedText(text, self._task, total, kept, encoding.ids, prompt, at_least=uncertain > 0)

    def token_starts(self, text: str) -> list[int]:
        """Where each token of the bare text begins, as places in the string, rising."""
        encoding = self._backend.encode(text, add_special_tokens=False)
        # Truncation from the left gives the parts of a long text from its end.
        return sorted(start for part in (encoding, *encoding.overflowing) for start, _ in part.offsets)

    def tokens(self, text: str, prompt: str, special: bool) -> list[Token]:
        """All tokens of `prompt + text`, whatever the limit; with those that the model adds where `special` says so.

        A token's place is that in `text`; one of the prompt has none.
        """
        encoding = self._backend.encode(prompt + text, add_special_tokens=special and self._add_special_tokens)
        parts = sorted((encoding, *encoding.overflowing), key=_first_character)
        found: list[Token] = []
        for number, part in enumerate(parts):
            # Each of these is copied whole when it is asked for.
            ids, words, offsets, mask = part.ids, part.tokens, part.offsets, part.special_tokens_mask
            added = [place for place, is_added in enumerate(mask) if is_added]
            own = [place for place, is_added in enumerate(mask) if not is_added]
            # Each part has the special tokens around it: those of the whole are the first's and the last's.
            before = [place for place in added if not own or place < own[0]] if number == 0 else []
            after = [place for place in added if own and place > own[-1]] if number == len(parts) - 1 else []
            for place in (*before, *own, *after):
                start, stop = (at - len(prompt) for at in offsets[place])
                special_token = bool(mask[place])
                here = not special_token and start >= 0
                at = (start, stop) if here else (None, None)
                found.append(Token(ids[place], words[place], special_token, *at))
        return found

    def decode(self, ids: Sequence[int], skip_special: bool) -> str:
        """The text of these tokens. Raises ValueError for an id that is no token's."""
        size = self._backend.get_vocab_size()
        if any(not 0 <= each < size for each in ids):
            raise ValueError(f"the model's tokenizer has {size} tokens, with ids from 0 to {size - 1}")
        text: str = self._backend.decode(list(ids), skip_special_tokens=skip_special)
        return text

    def _total(self, encoding: tokenizers.Encoding) -> int:
        # What was cut off comes in parts, each with special tokens of its own.
        return len(encoding) + sum(len(part) - self._special_tokens for part in encoding.overflowing)


def task_prompt(prompts: Mapping[str, str | None], task: Task) -> str:
    """The prompt of a task among a model's prompts by name, as encode_query and encode_document resolve it.

    A SentenceTransformer has a prompt named `query` and one named `document`, empty where its folder has none. So
    `encode_document` never uses one named `passage`.
    """
    return prompts.get(task) or ""


def _first_character(encoding: tokenizers.Encoding) -> int:
    added = encoding.special_tokens_mask
    return min((start for (start, _), skip in zip(encoding.offsets, added, strict=True) if not skip), default=0)


def load_tokenizers(folder: Path, manifest: Manifest) -> dict[Task, Tokenizer]:
    """The tokenizer of a prepared folder for each task."""
    backend = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER))
    return_freed_memory()  # reading a vocabulary of 262,144 tokens leaves 100 MB behind
    backends: dict[TokenizerSettings, tokenizers.Tokenizer] = {}
    for settings in set(manifest.tokenizer.values()):
        backends[settings] = deepcopy(backend) if backends else backend
    return {
        task: Tokenizer(backends[settings], task, task_prompt(manifest.prompts, task), settings)
        for task, settings in manifest.tokenizer.items()
    }
