"""Which words stand before a text: a task's prompt as the model's own configuration has it, and a document's title."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from embedding.model.engine import Engine, Task
from embedding.model.tokenizer import task_prompt

Prompts = Mapping[str, str | None]

NONE = "none"
# For each task, the names that models give its prompt: the MTEB benchmark's task types, which EmbeddingGemma and
# others take over. https://github.com/embeddings-benchmark/mteb
NAMES: Mapping[str, Sequence[str]] = {
    "query": ("query",),
    "document": ("document",),
    "classification": ("classification",),
    "clustering": ("clustering",),
    "similarity": ("similarity", "sts"),
    "code": ("code", "coderetrieval"),
    "question-answering": ("questionanswering",),
    "fact-checking": ("factchecking",),
}
# What a caller of another service means by one of them.
ALIASES = {"search_query": "query", "search_document": "document"}
# EmbeddingGemma's prompts all have one form, into which its model card puts these words. Its configuration names most
# of them; what it does not name is put into the form of its query prompt.
# https://ai.google.dev/gemma/docs/embeddinggemma/model_card#prompt-instructions
FORM = re.compile(r"(task: )[^|]*( \| query: )")
WORDS = {
    "query": "search result",
    "classification": "classification",
    "clustering": "clustering",
    "similarity": "sentence similarity",
    "code": "code retrieval",
    "question-answering": "question answering",
    "fact-checking": "fact checking",
}
IN_THE_FORM = {"code": "instructionretrieval"}
"""Names that mean a task in EmbeddingGemma alone."""
DOCUMENTS = ("document", "passage", "corpus")
UNTITLED = "title: none"


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is put before a text, and whether the model reads the text as a query or as a document."""

    side: Task
    words: str | None = None
    """None: the prompt of that side."""


def find_prompt(prompts: Prompts, task: str) -> Prompt | None:
    """The prompt of `task` in a model that has `prompts`; None where it has none of that name.

    `task` is one of `NAMES`, or one of `ALIASES`, or the name of any of the prompts, or `none`. A model without any
    prompt makes no difference between tasks, and takes them all.
    """
    if task == NONE:
        return Prompt("query", "")
    if (named := prompts.get(task)) is not None:
        return _on_its_side(prompts, task, named)
    task = ALIASES.get(task, task)
    if task in ("query", "document"):
        return Prompt("document" if task == "document" else "query")
    if task not in NAMES:
        return None
    form = FORM.fullmatch(task_prompt(prompts, "query"))
    plain = {re.sub(r"[^a-z]", "", name.lower()): words for name, words in prompts.items() if words is not None}
    for name in (*NAMES[task], *([IN_THE_FORM[task]] if form and task in IN_THE_FORM else ())):
        if name in plain:
            return _on_its_side(prompts, task, plain[name])
    if form:
        return _on_its_side(prompts, task, f"{form[1]}{WORDS[task]}{form[2]}")
    return None if any(prompts.values()) else Prompt("query")


def task_names(prompts: Prompts) -> list[str]:
    """All that `find_prompt` finds, the aliases left out."""
    tasks = [task for task in NAMES if find_prompt(prompts, task)]
    return [*tasks, *(name for name in prompts if name not in tasks), NONE]


def titled(prompt: str, title: str) -> str:
    """The document prompt with `title` where it says that there is none; else with the title behind it, as a line."""
    if UNTITLED in prompt:
        return prompt.replace(UNTITLED, f"title: {title}", 1)
    return f"{prompt}{title}\n"


def prefix(engine: Engine, task: Task, prompt: str | None, title: str, size: int | None) -> tuple[str, int]:
    """What stands before a text in a window of `size` tokens, and by how many tokens its title had to be cut.

    It is the prompt, by default the task's own, with the title in it. A title leaves half of the window to the text.
    """
    words = task_prompt(engine.prompts, task) if prompt is None else prompt
    if not title.strip():
        return words, 0
    whole = titled(words, title)
    # Short titles leave enough, and need not be counted: no token is shorter than a byte.
    if size is None or 2 * len(whole.encode()) <= size:
        return whole, 0
    tokens = _count(engine, task, whole)
    if tokens <= size // 2:
        return whole, 0
    room = size // 2 - _count(engine, task, words)
    cut = titled(words, _cut_title(engine, title, room)) if room > 0 else words
    return cut, max(0, tokens - _count(engine, task, cut))


def _cut_title(engine: Engine, title: str, room: int) -> str:
    starts = engine.token_starts(title)
    # Where the title is longer by the prompt alone, as by the line's end behind it, all of it stays.
    return title[: starts[room]].rstrip() if room < len(starts) else title


def _count(engine: Engine, task: Task, text: str) -> int:
    (tokens,) = engine.tokenize([text], task, prompt="")
    return tokens.total


def _on_its_side(prompts: Prompts, name: str, words: str) -> Prompt:
    side: Task = "document" if any(word in name.lower() for word in DOCUMENTS) else "query"
    return Prompt(side, None if words == task_prompt(prompts, side) else words)
