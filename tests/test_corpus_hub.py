"""A dataset of the hub as the input of `embed`, read as its user names it, with a token and without."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedding.corpus import open_input
from embedding.corpus.read.rows import Document
from embedding.settings import CorpusSettings
from tests.cli import run
from tests.corpora import Corpus, contents, made_texts, matrix, table, write_jsonl
from tests.fake_hub import COMMIT, DATASET, Fault, fake_hub

TOKEN = "hf_good"
TEXTS = made_texts(30)
DATE = "2026-01-01T00:00:00.000Z"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    (folder / "data").mkdir()
    (folder / "README.md").write_text("texts")
    for part in (0, 1):
        columns = {"id": pa.array(range(15 * part, 15 * part + 15)), "text": TEXTS[15 * part : 15 * part + 15]}
        pq.write_table(pa.table(columns), folder / f"data/{part}.parquet")
    return folder


@pytest.mark.parametrize("path", ["data/*.parquet", "data", ""])
def test_a_dataset_gives_the_vectors_of_its_files(
    corpus: Corpus, prepared_gemma: Path, dataset: Path, path: str, tmp_path: Path
) -> None:
    arguments = ["--output", str(tmp_path / "out"), "--model", str(prepared_gemma), "--precision", "float32"]

    with fake_hub(dataset, token=TOKEN) as hub:
        done = run("embed", f"hf://datasets/{DATASET}/{path}", *arguments, HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)

    assert done.returncode == 0, done.stderr
    assert "2 Parquet file(s), text from 'text', no title, id from 'id'" in done.stdout
    assert table(tmp_path / "out")["id"].to_pylist() == list(range(30))
    np.testing.assert_allclose(matrix(table(tmp_path / "out")), corpus.vectors(TEXTS), atol=1e-6)
    assert TOKEN not in done.stdout + done.stderr


def test_a_public_dataset_needs_no_token_and_gets_none(dataset: Path, prepared_gemma: Path, tmp_path: Path) -> None:
    arguments = ["--output", str(tmp_path / "out"), "--model", str(prepared_gemma)]

    with fake_hub(dataset) as hub:
        done = run("embed", f"hf://datasets/{DATASET}/data/0.parquet", *arguments, HF_ENDPOINT=hub.url)

    assert done.returncode == 0, done.stderr
    assert hub.sent_tokens == {""}
    assert sum("/tree/" in request for request in hub.requests) == 1


REFUSED = Fault("/api/datasets/", status=401, message="Invalid credentials in Authorization header")


@pytest.mark.parametrize(
    ("address", "token", "faults", "words"),
    [
        (f"{DATASET}/data/*.parquet", "", [], "is not on the hub, or it is private: check the address, and HF_TOKEN"),
        (f"{DATASET}/data/*.parquet", "hf_bad", [REFUSED], "the hub does not accept HF_TOKEN"),
        ("someone/another/data/*.parquet", TOKEN, [], "is not on the hub, or it is private"),
        (f"{DATASET}/nothing/*.parquet", TOKEN, [], "no file of a known kind"),
        (f"{DATASET}/nothing/0.parquet", TOKEN, [], "there is no hf://"),
        (f"{DATASET}/data/0.parquet", TOKEN, [Fault("/resolve/", 403, "GatedRepo")], "is gated: accept its terms"),
        (f"{DATASET}/data/0.parquet", TOKEN, [Fault("/resolve/", 403)], "may not be read with this HF_TOKEN"),
        (f"{DATASET}/data/0.parquet", TOKEN, [Fault("/resolve/", 418)], "the hub answered 418"),
        (f"{DATASET}@v9/data/0.parquet", TOKEN, [Fault("/v9", 404, "RevisionNotFound")], "in this revision"),
    ],
)
def test_what_the_hub_refuses_ends_it_with_one_line(
    address: str, token: str, faults: list[Fault], words: str, dataset: Path, tmp_path: Path
) -> None:
    arguments = ["embed", f"hf://datasets/{address}", "--output", str(tmp_path / "out")]

    with fake_hub(dataset, *faults, token=TOKEN if not faults else "") as hub:
        done = run(*arguments, HF_ENDPOINT=hub.url, HF_TOKEN=token)

    assert done.returncode == 1
    (message,) = done.stderr.strip().splitlines()
    assert words in message
    assert f"hf://datasets/{address}" in message or "datasets/" in message
    assert "hf_" not in message


def test_without_a_network_it_ends_with_one_line(tmp_path: Path) -> None:
    arguments = ["embed", f"hf://datasets/{DATASET}/data", "--output", str(tmp_path / "out")]

    away = run(*arguments, HF_ENDPOINT="http://127.0.0.1:9", HF_TOKEN=TOKEN)
    offline = run(*arguments, HF_HUB_OFFLINE="1")

    assert [line.count("\n") for line in (away.stderr.strip(), offline.stderr.strip())] == [0, 0]
    assert "could not be fetched (ConnectError): check the network" in away.stderr
    assert "HF_HUB_OFFLINE is set" in offline.stderr
    assert not list(tmp_path.iterdir())


class Taking(BaseHTTPRequestHandler):
    """A hub that takes what is pushed to a dataset: `taken` holds the files by name, as they were last sent."""

    taken: dict[str, bytes]
    asked: list[Any]
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.respond(200 if self.path.rpartition("/")[2] in self.taken else 404, {})

    def do_GET(self) -> None:
        self.respond(200, {"id": "me/papers", "sha": COMMIT, "siblings": [], "private": True, "gated": False})

    def do_POST(self) -> None:
        lines = self.rfile.read(int(self.headers["Content-Length"])).splitlines()
        body = [json.loads(line) for line in lines]
        self.asked.append((self.path, self.headers["Authorization"]))
        if self.path.endswith("/preupload/main"):
            files = [
                {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False} for each in body[0]["files"]
            ]
            self.respond(200, {"files": files})
            return
        for each in body:
            if each.get("key") == "file":
                self.taken[each["value"]["path"]] = base64.b64decode(each["value"]["content"])
        url = f"http://{self.headers['Host']}/datasets/me/papers"
        self.respond(200, {"url": url, "commitUrl": f"{url}/commit/{COMMIT}", "commitOid": COMMIT, "success": True})

    def respond(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"0"')
        self.send_header("X-Repo-Commit", COMMIT)
        if status == 404:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def serving(kind: type[Taking], taken: dict[str, bytes]) -> Iterator[tuple[str, type[Taking]]]:
    handler = type("Handler", (kind,), {"taken": taken, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_files_are_pushed_to_a_dataset_that_readers_find_them_in(prepared_gemma: Path, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text in TEXTS])
    arguments = ["--output", str(tmp_path / "out"), "--model", str(prepared_gemma), "--to", "hf://datasets/me/papers"]

    with serving(Taking, {}) as (url, handler):
        done = run("embed", str(source), *arguments, HF_ENDPOINT=url, HF_TOKEN=TOKEN)

    assert done.returncode == 0, done.stderr
    assert "Pushed to hf://datasets/me/papers." in done.stdout
    card = handler.taken.pop("README.md")
    assert b"data_files: shards/*.parquet" in card
    assert handler.taken == contents(tmp_path / "out")
    assert {token for _, token in handler.asked} == {f"Bearer {TOKEN}"}


class Bucket(Taking):
    """A hub of one bucket, `taken`."""

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        if path == "/api/buckets/me/papers":
            told = {"id": "me/papers", "private": True, "createdAt": DATE, "size": 1, "totalFiles": 2}
            self.respond(200, told)
        elif path.startswith("/api/buckets/me/papers/tree"):
            folder = path.removeprefix("/api/buckets/me/papers/tree").strip("/")
            folders = [] if folder else [{"type": "directory", "path": "data", "uploadedAt": DATE}]
            self.respond(200, folders + [self.entry(name) for name in self.taken if name.startswith(folder)])
        elif path.startswith("/buckets/me/papers/resolve/"):
            content = self.taken[path.removeprefix("/buckets/me/papers/resolve/")]
            first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
            self.send_response(206)
            part = content[int(first) : int(last) + 1 if last else None]
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            self.wfile.write(part)
        else:
            self.respond(404, {})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.respond(200, [self.entry(name) for name in asked["paths"] if name in self.taken])

    def entry(self, name: str) -> dict[str, Any]:
        return {
            "type": "file",
            "path": name,
            "size": len(self.taken[name]),
            "xetHash": "0",
            "mtime": DATE,
            "uploadedAt": DATE,
        }


@pytest.mark.parametrize("path", ["", "/data", "/data/*.jsonl", "/data/1.jsonl"])
def test_a_bucket_is_read_as_a_dataset_is(path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = {f"data/{n}.jsonl": "".join(json.dumps({"text": text}) + "\n" for text in TEXTS).encode() for n in (0, 1)}
    with serving(Bucket, files) as (url, _):
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
        found = open_input(f"hf://buckets/me/papers{path}", tmp_path / "out", CorpusSettings.read(), TOKEN)
        rows = [row for _, row in found.rows(found.survey.columns)]

    assert [file.rows for file in found.survey.files] == [None] * len(found.source.files)
    assert [row.text for row in rows if isinstance(row, Document)] == TEXTS * len(found.source.files)
    assert len(found.source.files) == (1 if path.endswith("1.jsonl") else 2)
