"""What the cases are given: a server, texts with SentenceTransformer's vectors, and the lines of docs/clients.md."""

import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

URL, TOKEN = os.environ["EMBEDDING_URL"], os.environ["auth_token"]  # noqa: SIM112
ANY_NAME = os.environ["ANY_NAME_URL"]  # there SERVED_MODEL_NAME is *
MODEL = "embeddinggemma-300m-qat-q8_0-unquantized"
PAGE = Path(__file__).parents[3] / "docs/clients.md"

_reference = np.load(os.environ["REFERENCE"])
TEXTS = _reference["texts"].tolist()
QUERY, DOCUMENT, NONE = (_reference[name] for name in ("query", "document", "none"))
DIMENSION = QUERY.shape[1]
TOO_LONG = "entropy " * 500


def same(vectors: Any, expected: np.ndarray) -> bool:
    """Whether `vectors` are the expected to 1e-5."""
    vectors = np.asarray(vectors, np.float64)
    return vectors.shape == expected.shape and bool(np.abs(vectors - expected).max() < 1e-5)


def cut(vectors: np.ndarray, dimension: int) -> np.ndarray:
    """The first numbers of each vector, of unit length again."""
    vectors = vectors[:, :dimension]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def lines_of(heading: str, language: str = "python") -> str:
    """The first block of code under a heading of docs/clients.md."""
    section = PAGE.read_text().split(f"\n### {heading}\n")[1].split("\n### ")[0]
    block = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert block, f"docs/clients.md has no {language} under {heading}"
    return block[1]


def run_lines_of(heading: str, *, any_name: bool = False) -> SimpleNamespace:
    """What a client's documented lines leave: `query`, the vector of the first text, and `documents`, those of all."""
    url = ANY_NAME if any_name else URL
    names: dict[str, Any] = {"url": url, "token": TOKEN, "model": MODEL, "question": TEXTS[0], "texts": TEXTS}
    exec(compile(lines_of(heading), f"docs/clients.md, {heading}", "exec"), names)
    return SimpleNamespace(**names)
