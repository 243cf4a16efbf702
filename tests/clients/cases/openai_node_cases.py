"""The openai client for JavaScript, run by node."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from given import DIMENSION, DOCUMENT, MODEL, QUERY, TEXTS, TOKEN, URL, cut, lines_of, same

FOLDER = Path(os.environ["CLIENTS"])

pytestmark = pytest.mark.skipif(
    not shutil.which("node") or not (FOLDER / "node_modules/openai").exists(), reason="node or its client is not here"
)


def run(lines: str) -> dict[str, object]:
    """What a module prints that has the lines of docs/clients.md and then `lines`."""
    given = {"url": URL, "token": TOKEN, "model": MODEL, "question": TEXTS[0], "texts": TEXTS, "dimension": DIMENSION}
    constants = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in given.items())
    script = f"{constants}{lines_of('openai, JavaScript', 'js')}\n{lines}"
    command = ["node", "--input-type=module", "-"]
    run = subprocess.run(command, input=script, cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    answer: dict[str, object] = json.loads(run.stdout)
    return answer


def test_the_documented_lines() -> None:
    answer = run("console.log(JSON.stringify({ query: Array.from(query), documents: documents.map((v) => [...v]) }));")

    assert same(answer["query"], QUERY[0])
    assert same(answer["documents"], DOCUMENT)


def test_floats_a_cut_and_an_error() -> None:
    answer = run("""
        const ask = (more) => client.embeddings.create({ model, input: texts, ...more });
        const floats = (await ask({ encoding_format: "float" })).data.map((item) => item.embedding);
        const cut = (await ask({ dimensions: 32 })).data.map((item) => Array.from(item.embedding));
        const error = await ask({ model: "other" }).catch((error) => error.constructor.name);
        const wrong = new OpenAI({ baseURL: `${url}/v1`, apiKey: "wrong", maxRetries: 0 });
        const refused = await wrong.models.list().catch((error) => error.constructor.name);
        console.log(JSON.stringify({ floats, cut, error, refused }));
    """)

    assert same(answer["floats"], QUERY)
    assert same(answer["cut"], cut(np.array(QUERY), 32))
    assert answer["error"] == "NotFoundError"
    assert answer["refused"] == "AuthenticationError"
