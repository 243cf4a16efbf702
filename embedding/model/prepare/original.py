"""The model that is prepared: what it is made of, and the tokens and vectors that SentenceTransformer gives."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from embedding.model.engine import Task
from embedding.model.errors import ModelUnavailable
from embedding.model.fetch.manifest import TOOLS
from embedding.model.prepare.build import encoder_of
from embedding.model.prepare.checkpoint import Checkpoint, read_checkpoint, require
from embedding.model.reference import load_reference, refuse_missing_weights

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

TaskText = tuple[Task, str]

# What one text may bring along beside its ids; the graphs take every token's type to be 0.
FEATURES = {"input_ids", "attention_mask", "token_type_ids", "modality", "prompt_length"}


class Original(Protocol):
    """A model as SentenceTransformer reads it: loaded now, or recorded before (`recorded.RecordedModel`)."""

    @property
    def checkpoint(self) -> Checkpoint:
        """What the graphs are made of. Raises UnsupportedModel, and ModelUnavailable where weights are missing."""

    @property
    def tools(self) -> Mapping[str, str]:
        """The version of each of TOOLS that had a part in it."""

    def token_ids(self, task: Task, text: str) -> list[int]:
        """The ids that the model reads of a text."""

    def vectors(self, texts: Sequence[TaskText]) -> np.ndarray:
        """The vectors of the texts in float32, (texts, dimension)."""


class LoadedModel:
    """A model that SentenceTransformer has loaded in float32. Raises ModelUnavailable where it can't."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            self._model = load_reference(folder)
        except Exception as error:
            reason = f"{type(error).__name__}: {str(error).strip().split(chr(10))[0]}"
            raise ModelUnavailable(f"SentenceTransformer can't load {folder}: {reason}") from error

    @cached_property
    def checkpoint(self) -> Checkpoint:
        checkpoint = read_checkpoint(self._model)
        encoder_of(checkpoint)
        refuse_missing_weights(self._model, self._folder)
        return checkpoint

    @property
    def tools(self) -> Mapping[str, str]:
        return {tool: version(tool) for tool in TOOLS}

    def token_ids(self, task: Task, text: str) -> list[int]:
        """The ids that reach the model's first module from encode_query or encode_document."""
        features = _features(self._model, task, text)
        others = sorted(set(features) - FEATURES)
        require(not others, f"a tokenizer that gives {', '.join(others)} beside the ids")
        read = features["attention_mask"][0].bool()
        require(bool(read.all()) or bool(read[0]), "padding before a text (padding_side, padding)")
        if "token_type_ids" in features:
            require(not features["token_type_ids"][0][read].any(), "a token type other than 0 (token_type_ids)")
        ids: list[int] = features["input_ids"][0][read].long().tolist()
        return ids

    def vectors(self, texts: Sequence[TaskText]) -> np.ndarray:
        """Computed one text at a time."""
        encode = {"query": self._model.encode_query, "document": self._model.encode_document}
        return np.array([encode[task](text, show_progress_bar=False) for task, text in texts], np.float32)


class _Reached(Exception):
    """Ends a call of the model before it computes: the features are all that is asked for."""

    def __init__(self, features: dict[str, Any]) -> None:
        super().__init__()
        self.features = features


def _stop(_model: Any, inputs: tuple[dict[str, Any]]) -> None:
    raise _Reached(inputs[0])


def _features(model: "SentenceTransformer", task: Task, text: str) -> dict[str, Any]:
    hook = model.register_forward_pre_hook(_stop)
    try:
        (model.encode_query if task == "query" else model.encode_document)(text, show_progress_bar=False)
    except _Reached as reached:
        return reached.features
    finally:
        hook.remove()
    raise AssertionError("the model was not called")
