"""This process and its machine: the processors it may use, and memory that it has freed and still holds."""

import ctypes
import math
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
NICER = 5  # a third of the share of a thread at the usual priority


def available_cores(cgroup: Path = CGROUP) -> int:
    """Processors that this process may use: its affinity, or the container's quota where that is less; at least 1.

    A container with a quota of 2 on a host of 64 sees 64 processors, and 64 threads on 2 are slower than 2.
    Source: cpu.max of https://docs.kernel.org/admin-guide/cgroup-v2.html, cpu.cfs_quota_us of version 1.
    """
    seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroup)
    return max(1, min(seen, math.ceil(quota))) if quota else seen


def yield_to_others() -> None:
    """Let other threads of this process go first where processors are short. So do threads that this one starts.

    On Linux, where a priority is a thread's, and where the sandbox allows it; elsewhere nothing happens.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + NICER))


def return_freed_memory() -> None:
    """Give freed memory back to the system, where the C library (glibc) can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim:
        trim(0)


def _quota(cgroup: Path) -> float | None:
    try:
        limit, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit = (cgroup / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    return float(limit) / float(period) if limit not in ("max", "-1") else None
