"""The local home, `python -m embedding`, as a process of a container, for homes that want a port and not an app."""

import subprocess
import sys
import time
import urllib.request

LOOK_AGAIN = 0.05


def start_server(port: int) -> "subprocess.Popen[bytes]":
    """The process, once it answers `/health` with 200. Raises RuntimeError where it ends before."""
    process = subprocess.Popen([sys.executable, "-m", "embedding", "--port", str(port)])
    while not answers(f"http://127.0.0.1:{port}/health"):
        if process.poll() is not None:
            raise RuntimeError(f"the service ended with status {process.returncode}; its log says why")
        time.sleep(LOOK_AGAIN)
    return process


def answers(url: str) -> bool:
    """Whether a GET of `url` succeeds."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False
