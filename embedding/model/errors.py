"""What can go wrong between a text and its vector, said so that the reader knows what to do."""

from collections.abc import Iterable


class ModelUnavailable(Exception):
    """The model can't be fetched or loaded; the message says why and what to do. Ends start-up."""


class InvalidArtifact(ModelUnavailable):
    """The folder isn't a prepared model of this format, or is not whole: prepare it again."""


class UnknownPrecision(ModelUnavailable):
    """The model can't be had in that precision; the message says why, or in which it can."""


class UnsupportedModel(ModelUnavailable):
    """The onnx engine lacks what the model needs; the torch engine can serve it."""


class Unsupported(Exception):
    """This model, or the engine that runs it, can't do what is asked; the message says what."""


NO_SPANS = "late chunking needs a model that takes the mean of its tokens' vectors; use chunk: true"


class TextError(Exception):
    """Some texts of a batch have no vector, through no fault of the others.

    `indices` are their places in the batch, from 0; `str()` says why, for one text, without quoting any.
    """

    reason = "has no vector"

    def __init__(self, indices: Iterable[int]) -> None:
        super().__init__(self.reason)
        self.indices = tuple(indices)

    @property
    def index(self) -> int:
        """The first of the texts."""
        return self.indices[0]


class NoTokens(TextError):
    """The model's tokenizer leaves nothing of the text. `Engine.tokenize` or `Engine.embed` raises it."""

    reason = "has no tokens: the model's tokenizer drops all of its characters"


class UnknownToken(TextError):
    """The tokenizer has a token that the model's table of vectors lacks. `Engine.embed` raises it."""

    reason = "has a token that the model has no vector for"


class NotFinite(TextError):
    """The model computes NaN or infinity from the text. `Engine.embed` raises it, naming every such text."""

    reason = "has no finite vector: the model computes NaN or infinity from it"


class TextTooLong(Exception):
    """A text has more tokens than the model reads, and its sender refused a cut."""

    def __init__(self, index: int, tokens: int, limit: int, at_least: bool = False) -> None:
        super().__init__(f"has {'at least ' * at_least}{tokens} tokens, and the model reads at most {limit}")
        self.index = index
