"""Texts to token ids: under their task's prompt, and cut at the model's limit."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import tokenizers
from tokenizers.normalizers import Lowercase
from tokenizers.normalizers import Sequence as NormalizerSequence

from embedding.model.engine import Task, Tokens
from embedding.model.machine import return_freed_memory
from embedding.model.manifest import TOKENIZER, Manifest


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
        self._prompts = prompts
        self._special = backend.num_special_tokens_to_add(False)

    def tokenize(self, texts: Sequence[str], task: Task) -> list[Tokens]:
        """Each text under the task's prompt."""
        return self.under(self._prompts.get(task) or "", texts, task)

    def under(self, prompt: str, texts: Sequence[str], task: Task) -> list[Tokens]:
        """Each text under `prompt`."""
        encodings = self._backend.encode_batch_fast([prompt + text for text in texts])
        return [
            Tokens(text, task, total=self._total(encoding), kept=len(encoding), ids=encoding.ids)
            for text, encoding in zip(texts, encodings, strict=True)
        ]

    def _total(self, encoding: tokenizers.Encoding) -> int:
        # What was cut off comes in pieces, each with special tokens of its own.
        return len(encoding) + sum(len(piece) - self._special for piece in encoding.overflowing)


def load_tokenizer(folder: Path, manifest: Manifest) -> Tokenizer:
    """The tokenizer of a prepared folder."""
    backend = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER))
    if manifest.lowercase:
        others = [backend.normalizer] if backend.normalizer else []
        backend.normalizer = NormalizerSequence([Lowercase(), *others])
    return_freed_memory()  # reading a vocabulary of 262,144 pieces leaves 100 MB behind
    return Tokenizer(backend, manifest.prompts, manifest.max_tokens)
