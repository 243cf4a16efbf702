"""Texts to token ids: under their task's prompt, and cut at the model's limit."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import tokenizers
from tokenizers.normalizers import Lowercase
from tokenizers.normalizers import Sequence as NormalizerSequence

from embedding.model.engine import Task, TokenizedText
from embedding.model.fetch.manifest import TOKENIZER, Manifest
from embedding.model.machine import return_freed_memory

# The names under which a model may keep the prompt of a task, as encode_query and encode_document look for them.
PROMPT_NAMES: Mapping[Task, Sequence[str]] = {"query": ("query",), "document": ("document", "passage", "corpus")}


class Tokenizer:
    """A model's own tokenizer with its prompts. Takes `backend` over: sets its cut and its padding."""

    def __init__(
        self, backend: tokenizers.Tokenizer, prompts: Mapping[str, str | None], max_tokens: int | None
    ) -> None:
        backend.no_padding()
        if max_tokens:
            backend.enable_truncation(max_tokens)
        else:
            backend.no_truncation()
        self._backend = backend
        self.prompts = prompts
        self._special = backend.num_special_tokens_to_add(False)

    def tokenize(self, texts: Sequence[str], task: Task, prompt: str | None = None) -> list[TokenizedText]:
        """Each text under the task's prompt, or under `prompt`."""
        before = task_prompt(self.prompts, task) if prompt is None else prompt
        encodings = self._backend.encode_batch_fast([before + text for text in texts])
        return [
            TokenizedText(text, task, self._total(encoding), kept=len(encoding), ids=encoding.ids, prompt=prompt)
            for text, encoding in zip(texts, encodings, strict=True)
        ]

    def token_starts(self, text: str) -> list[int]:
        """Where each token of the bare text begins, as places in the string."""
        first = self._backend.encode(text, add_special_tokens=False)
        return [start for piece in (first, *first.overflowing) for start, _ in piece.offsets]

    def _total(self, encoding: tokenizers.Encoding) -> int:
        # What was cut off comes in pieces, each with special tokens of its own.
        return len(encoding) + sum(len(piece) - self._special for piece in encoding.overflowing)


def task_prompt(prompts: Mapping[str, str | None], task: Task) -> str:
    """The prompt of a task among a model's prompts by name; empty where it has none."""
    return next((prompts[name] or "" for name in PROMPT_NAMES[task] if name in prompts), "")


def load_tokenizer(folder: Path, manifest: Manifest) -> Tokenizer:
    """The tokenizer of a prepared folder."""
    backend = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER))
    if manifest.lowercase:
        others = [backend.normalizer] if backend.normalizer else []
        backend.normalizer = NormalizerSequence([Lowercase(), *others])
    return_freed_memory()  # reading a vocabulary of 262,144 tokens leaves 100 MB behind
    return Tokenizer(backend, manifest.prompts, manifest.max_tokens)
