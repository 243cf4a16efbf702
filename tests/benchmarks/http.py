"""Servers in processes of their own: requests a second, start-up and memory."""

import asyncio
import json
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedding.model.load import fetch_and_prepare
from embedding.settings import Settings
from tests.benchmarks.engines import WORDS, precisions
from tests.benchmarks.table import Row

TOKEN = "bench-token"
REQUESTS = {1: 100, 16: 480}
TURNS = 3
LONG_TEXT = "a " * 4000  # beyond the model's limit in any tokenizer


def http_rows(model: Path, against: list[str]) -> list[Row]:
    """Requests a second for one client and for sixteen, and p99 for sixteen, beside `against` or our torch engine."""
    rows = []
    commands = against or [serve_line(model, "torch", "float32")]
    for clients, command in ((1, commands[0]), (16, commands[-1])):
        ours = {precision: serve_line(model, "onnx", precision) for precision in precisions(model)}
        results: dict[str, list[tuple[float, float]]] = {}
        for _ in range(TURNS):
            for name, line in {"reference": command, **ours}.items():
                with serving(line) as port:
                    results.setdefault(name, []).append(asyncio.run(load(port, clients, REQUESTS[clients])))
        middle = {name: sorted(turns)[TURNS // 2] for name, turns in results.items()}
        for precision in ours:
            plural = "s" if clients > 1 else ""
            rate, reference = middle[precision], middle["reference"]
            rows.append(Row(f"HTTP, {clients} client{plural}", precision, rate[0], "requests/s", reference[0]))
            if clients > 1:
                rows.append(Row(f"HTTP, {clients} clients, p99", precision, rate[1], "ms", reference[1]))
    return rows


def process_rows(model: Path) -> list[Row]:
    """Start to first vector, resident memory after 200 queries, and the peak with one text of the model's limit."""
    lines = {"torch": serve_line(model, "torch", "float32")}
    lines |= {precision: serve_line(model, "onnx", precision) for precision in precisions(model)}
    found = {name: sorted(_process(line) for _ in range(TURNS))[TURNS // 2] for name, line in lines.items()}
    what = (("process start to first vector", "s"), ("resident after 200 queries", "MB"), ("peak, longest text", "MB"))
    return [
        Row(name, precision, found[precision][i], unit, found["torch"][i])
        for i, (name, unit) in enumerate(what)
        for precision in found
        if precision != "torch"
    ]


def _process(line: str) -> tuple[float, float, float]:
    start = time.perf_counter()
    with serving(line) as port:
        seconds = time.perf_counter() - start
        asyncio.run(load(port, 1, 200))
        resident = _memory_mb(port, "VmRSS")
        asyncio.run(_post(port, [LONG_TEXT]))
        return seconds, resident, _memory_mb(port, "VmHWM")


@contextmanager
def serving(line: str) -> Iterator[int]:
    """Run a server's command line on a free port until it has answered a vector; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        ["bash", "-c", "exec " + line.format(port=port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    _PROCESSES[port] = process.pid
    deadline = time.monotonic() + 180
    try:
        while not asyncio.run(_answers(port)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise ConnectionError(f"does not answer: {line}")
            time.sleep(0.02)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


_PROCESSES: dict[int, int] = {}


async def load(port: int, clients: int, requests: int) -> tuple[float, float]:
    """Closed-loop load with queries of which no two are the same: requests a second, and p99 in ms."""
    rng = random.Random(time.time_ns())
    texts = [
        f"{rng.random():.6f} what of {' '.join(rng.choices(WORDS, k=rng.randint(6, 14)))}?" for _ in range(requests)
    ]
    waiting = iter(texts)
    start = time.perf_counter()
    parts = await asyncio.gather(*(_post(port, waiting) for _ in range(clients)))
    seconds = time.perf_counter() - start
    latencies = sorted(latency for part in parts for latency in part)
    return len(texts) / seconds, 1e3 * latencies[int(0.99 * len(latencies))]


async def _post(port: int, texts: Iterator[str] | list[str]) -> list[float]:
    """Ask for one text after another over one connection; the seconds that each took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    seconds = []
    for text in texts:
        body = json.dumps({"query": text}).encode()
        head = f"POST /predict HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {TOKEN}\r\n"
        start = time.perf_counter()
        writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in answer.split(b"\r\n")[0]:
            raise ConnectionError(answer.split(b"\r\n")[0].decode())
        await reader.readexactly(int(answer.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
        seconds.append(time.perf_counter() - start)
    writer.close()
    return seconds


async def _answers(port: int) -> bool:
    try:
        await _post(port, ["first"])
    except (OSError, asyncio.IncompleteReadError):
        return False
    return True


def serve_line(model: Path, engine: str, precision: str) -> str:
    folder = model if engine == "torch" else fetch_and_prepare(Settings.read(model_id=str(model))).folder
    options = f"auth_token={TOKEN} ENGINE={engine} PRECISION={precision} LOG_LEVEL=WARNING"
    python, quoted = shlex.quote(sys.executable), shlex.quote(str(folder))
    return f"env {options} {python} -m embedding --host 127.0.0.1 --port {{port}} --model {quoted}"


def _memory_mb(port: int, field: str) -> float:
    status = Path(f"/proc/{_PROCESSES[port]}/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024
