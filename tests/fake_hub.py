"""A hub of one model and one dataset on localhost, that can refuse, fail, stall or cut a file in the middle."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

MODEL = "someone/a-model"
DATASET = "someone/a-dataset"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Fault:
    """What happens instead of an answer to requests whose path contains `where`, `times` times."""

    where: str
    status: int = 0
    code: str = ""
    """The hub's X-Error-Code."""
    message: str = ""
    """The hub's X-Error-Message."""
    cut: bool = False
    """Promise the whole file and hang up after half of it."""
    times: int = 1_000


@dataclass
class Hub:
    folder: Path
    faults: list[Fault] = field(default_factory=list)
    token: str = ""
    requests: list[str] = field(default_factory=list)
    sent_tokens: set[str] = field(default_factory=set)
    open: threading.Event = field(default_factory=threading.Event)
    """While clear, every request waits."""
    url: str = ""

    def fault(self, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.where in path and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    def files(self) -> list[Path]:
        return [path for path in sorted(self.folder.rglob("*")) if path.is_file()]


@contextmanager
def fake_hub(folder: Path, *faults: Fault, token: str = "") -> Iterator[Hub]:
    """Serve `folder` as `MODEL` and as `DATASET`; where `token` is given, only to who sends it."""
    hub = Hub(folder, list(faults), token)
    hub.open.set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        hub.open.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub = self.hub
        hub.requests.append(f"{self.command} {self.path}")
        sent = self.headers.get("Authorization", "").removeprefix("Bearer ")
        hub.sent_tokens.add(sent)
        hub.open.wait(60)
        fault = hub.fault(f"{self.command} {self.path}")
        if fault and fault.status:
            self._error(fault.status, fault.code, fault.message)
        elif hub.token and sent != hub.token:
            self._error(401, "RepoNotFound")
        elif self.path.startswith(f"/api/models/{MODEL}/tree/"):
            self._json([self._entry(path) for path in hub.files()])
        elif self.path.startswith(f"/api/models/{MODEL}"):
            self._json({"id": MODEL, "sha": COMMIT, "siblings": [], "private": False, "gated": False})
        elif self.path.startswith(f"/{MODEL}/resolve/{COMMIT}/"):
            self._file(hub.folder / self.path.split(COMMIT + "/")[1], cut=bool(fault and fault.cut))
        elif self.path.startswith(f"/api/datasets/{DATASET}/tree/main"):
            self._tree(self.path.split("/tree/main")[1])
        elif self.path.startswith(f"/api/datasets/{DATASET}"):
            self._json({"id": DATASET, "sha": COMMIT, "siblings": [], "private": False, "gated": False})
        elif self.path.startswith(f"/datasets/{DATASET}/resolve/main/"):
            self._file(hub.folder / self.path.split("/resolve/main/")[1], cut=bool(fault and fault.cut))
        else:
            self._error(404, "RepoNotFound")

    def _tree(self, rest: str) -> None:
        """What is in a folder of the dataset, and with `recursive` below it."""
        path, _, query = rest.partition("?")
        folder = self.hub.folder / unquote(path).strip("/")
        if folder.is_dir():
            found = sorted(folder.rglob("*") if "recursive=true" in query.lower() else folder.iterdir())
            self._json([self._entry(path) for path in found])
        else:
            self._error(404, "EntryNotFound")

    def _entry(self, path: Path) -> dict[str, object]:
        name = path.relative_to(self.hub.folder).as_posix()
        if path.is_dir():
            return {"type": "directory", "path": name, "oid": COMMIT}
        return {"type": "file", "path": name, "size": path.stat().st_size, "oid": _etag(path)}

    def _file(self, path: Path, cut: bool) -> None:
        content = path.read_bytes()
        size = len(content)
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        start, content = int(first), content[: int(last) + 1 if last else None]
        self.send_response(206 if start or last else 200)
        self.send_header("ETag", f'"{_etag(path)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content) - start))
        if start or last:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{size}")
        self.end_headers()
        if self.command == "HEAD":
            return
        end = start + (len(content) - start) // 2 if cut else len(content)
        self.wfile.write(content[start:end])
        self.close_connection = cut

    def _json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _error(self, status: int, code: str, message: str = "") -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        if message:
            self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()
