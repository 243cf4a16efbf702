"""A service that is frozen and thawed elsewhere: gVisor's own checkpoint and restore, on which Modal's snapshots rest.

It needs `runsc` (apt-get install runsc) and root, and is skipped without. Debian's is older than what Modal runs and
uses another platform of gVisor, so it shows that nothing of ours is in the way of a restore, not how Modal's goes.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli import ROOT

RUNSC = shutil.which("runsc")
pytestmark = pytest.mark.skipif(RUNSC is None or os.geteuid() != 0, reason="needs runsc and root")

# As modal_app.Embedding loads, and then answers: once before the snapshot, several times after each restore.
SERVICE = f"""
import asyncio, os, sys, time
from functools import partial
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
import numpy as np
from embedding.model import load_engine, warm_up
from embedding.serving import Limits, Service
from embedding.settings import Settings

shared, texts = Path(sys.argv[3]), ["What is machine learning?", "bread rises when yeast ferments " * 30] * 8
settings = Settings.read(auth_token="", model_id=sys.argv[1], precision=sys.argv[2], threads=2)
service = Service(partial(load_engine, settings), Limits.of(settings))
engine = service.load_now()
warm_up(engine)
before = engine.embed(engine.tokenize(texts, "query"))
threads = len(os.listdir("/proc/self/task"))
(shared / "loaded").touch()
while not (shared / "restored").exists():
    time.sleep(0.02)

async def answer():
    return [(await service.embed(texts, "query")).vectors for _ in range(3)]

after = engine.embed(engine.tokenize(texts, "query"))
furthest = max(float(np.abs(before - served).max()) for served in asyncio.run(answer()))
told = f"{{threads}} threads, equal: {{np.array_equal(before, after)}}, served the same: {{furthest < 1e-6}}"
(shared / "half").write_text(told)
(shared / "half").rename(shared / "told")
"""


class Sandbox:
    """Containers of gVisor on this machine's files, with a folder that both sides see."""

    def __init__(self, folder: Path, *command: str) -> None:
        self.shared, self.image, self._bundle = folder / "shared", folder / "image", folder / "bundle"
        for each in (self.shared, self.image, self._bundle):
            each.mkdir()
        self._runsc = [
            str(RUNSC),
            f"--root={folder / 'state'}",
            "--platform=ptrace",
            "--network=none",
            "--ignore-cgroups",
        ]
        mounts = [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": str(self.shared), "type": "bind", "source": str(self.shared), "options": ["rbind", "rw"]},
        ]
        environment = [f"{name}={os.environ[name]}" for name in ("PATH", "HF_HOME")]
        process = {"user": {"uid": 0, "gid": 0}, "args": [*command, str(self.shared)], "env": environment, "cwd": "/"}
        spec = {"ociVersion": "1.0.0", "process": process, "root": {"path": "/"}, "mounts": mounts}
        (self._bundle / "config.json").write_text(json.dumps(spec))

    def runsc(self, *arguments: str) -> None:
        """Run one command of runsc. What it starts keeps its output, so that goes to a file."""
        with (self._bundle / "log").open("a+") as log:
            done = subprocess.run(
                [*self._runsc, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=60
            )
            log.seek(0)
            assert done.returncode == 0, log.read()

    def freeze(self, name: str) -> None:
        """Start a container, and write it down once it has loaded; then it is gone."""
        self.runsc("create", "--bundle", str(self._bundle), name)
        self.runsc("start", name)
        self.wait_for("loaded")
        self.runsc("checkpoint", "--image-path", str(self.image), name)
        self.runsc("delete", "-force", name)

    def thaw(self, name: str) -> str:
        """Start another container from what was written down; what it tells."""
        self.runsc("restore", "--detach", "--image-path", str(self.image), "--bundle", str(self._bundle), name)
        (self.shared / "restored").touch()
        told = self.wait_for("told")
        self.runsc("delete", "-force", name)
        (self.shared / "restored").unlink()
        (self.shared / "told").unlink()
        return told

    def wait_for(self, name: str) -> str:
        end = time.monotonic() + 60
        while not (file := self.shared / name).exists():
            assert time.monotonic() < end, (self._bundle / "log").read_text()
            time.sleep(0.05)
        return file.read_text()


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_service_that_is_restored_in_other_containers_gives_the_same_vectors(
    prepared_gemma: Path, tmp_path: Path, precision: str
) -> None:
    sandbox = Sandbox(tmp_path, sys.executable, "-c", SERVICE, str(prepared_gemma), precision)

    sandbox.freeze("first")
    told = [sandbox.thaw(name) for name in ("second", "third")]

    assert all(each.endswith(" threads, equal: True, served the same: True") for each in told), told
    assert int(told[0].split()[0]) > 1  # whose restore is what is tested
