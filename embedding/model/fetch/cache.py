"""Where this program keeps what it made: beside the hub's cache."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where HF_HOME puts it."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(os.environ.get("HF_HOME") or default).expanduser() / "embedding"
