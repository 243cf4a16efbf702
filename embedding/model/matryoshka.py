"""Matryoshka models: which encoders were trained for vectors that are cut, and to which dimensions."""

# Kusupati et al. 2022, https://arxiv.org/abs/2205.13147; the dimensions are those of EmbeddingGemma's model card.
DIMENSIONS = {"gemma3_text": (512, 256, 128)}


def matryoshka_dimensions(encoder: str | None, dimension: int) -> list[int]:
    """The dimensions to which a vector may be cut, by the encoder's `model_type`; the whole `dimension` first."""
    return [dimension, *(cut for cut in DIMENSIONS.get(encoder or "", ()) if cut < dimension)]
