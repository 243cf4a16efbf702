"""Vectors that may be cut: which models are trained for it, and to what widths."""

# Kusupati et al. 2022, https://arxiv.org/abs/2205.13147; the widths are those of EmbeddingGemma's model card.
WIDTHS = {"gemma3_text": (512, 256, 128)}


def widths(encoder: str | None, width: int) -> list[int]:
    """What a vector of `width` numbers may be cut to, from the encoder's `model_type`; the widest, `width`, first."""
    return [width, *(cut for cut in WIDTHS.get(encoder or "", ()) if cut < width)]
