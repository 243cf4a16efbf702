"""Prepares in a process of its own: `python -m embedding.model.prepare SOURCE OUTPUT NAME PRECISION`.

For fetch/prepared.py, which starts it.
"""

import os
import sys
import threading
from pathlib import Path

from embedding.model.errors import ModelUnavailable, UnsupportedModel
from embedding.model.fetch.prepared import UNSUPPORTED
from embedding.model.prepare import prepare, print_progress


def main(source: str, output: str, name: str, precision: str) -> int:
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    try:
        prepare(Path(source), Path(output), source_id=name, precision=precision, report=print_progress)
    except Exception as error:
        reason = str(error) if isinstance(error, ModelUnavailable) else f"{type(error).__name__}: {error}"
        print(reason.replace("\n", " "), file=sys.stderr)  # the last line, by which the parent knows why
        return UNSUPPORTED if isinstance(error, UnsupportedModel) else 1
    return 0


def _end_with_the_parent() -> None:
    """Wait for the end of standard input, which a parent that is gone no longer holds open."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
