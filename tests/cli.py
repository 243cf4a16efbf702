"""The command line, run as its user runs it: in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "embedding", *arguments]


def run(
    *arguments: str, preexec: Callable[[], None] | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end, under the tests' environment and `environment`."""
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=preexec,
        check=False,
    )


def peak_memory(*arguments: str) -> int:
    """Run one command to its end; the megabytes that its process held at most (Linux)."""
    code = f"""
import sys
from pathlib import Path
from embedding.__main__ import main
status = main({list(arguments)!r})
print(next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line))
sys.exit(status)
"""
    # Not the resource usage of a child: that counts what its parent held when it began.
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-2]) // 1024


class Running:
    """A server in a process of its own, and what it has printed."""

    def __init__(self, process: subprocess.Popen[str], output: Path) -> None:
        self.process = process
        self._output = output

    @property
    def output(self) -> str:
        return self._output.read_text()

    def wait_for(self, words: str, seconds: float = 90) -> str:
        """The first line printed that contains `words`."""
        deadline = time.monotonic() + seconds
        while not (lines := [line for line in self.output.splitlines() if words in line]):
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)
        return lines[0]

    @property
    def url(self) -> str:
        line = self.wait_for("/health")
        return line[line.index("http://") : line.index("/health")]

    def health(self) -> httpx.Response:
        return httpx.get(f"{self.url}/health", timeout=10)


@contextmanager
def running(
    folder: Path, *arguments: str, preexec: Callable[[], None] | None = None, **environment: str
) -> Iterator[Running]:
    """Start `python -m embedding ARGUMENTS` on a free port; its output goes to a file in `folder`."""
    output = folder / "output"
    with output.open("w") as file:
        process = subprocess.Popen(
            command(*arguments),
            cwd=ROOT,
            env={**os.environ, "PORT": "0", **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=preexec,
        )
    try:
        yield Running(process, output)
    finally:
        process.kill()
        process.wait()
