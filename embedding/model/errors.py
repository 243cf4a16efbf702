"""What can go wrong between a text and its vector, said so that the reader knows what to do."""


class ModelUnavailable(Exception):
    """The model can't be fetched or loaded; the message says why and what to do. Ends start-up."""


class InvalidArtifact(ModelUnavailable):
    """The folder isn't a prepared model of this format, or is not whole: prepare it again."""


class UnknownPrecision(ModelUnavailable):
    """The model can't be had in that precision; the message says why, or in which it can."""


class UnsupportedModel(ModelUnavailable):
    """The onnx engine lacks what the model needs; the torch engine can serve it."""


class TextTooLong(Exception):
    """A text has more tokens than the model reads, and its sender refused a cut."""

    def __init__(self, index: int, tokens: int, limit: int) -> None:
        super().__init__(f"has {tokens} tokens, and the model reads at most {limit}")
        self.index = index
