"""Logs: one line an event on standard output, and never a text or a token in one."""

import logging
import sys


def configure_logging(level: str) -> None:
    """Log this package at `level`, and everything else from WARNING up.

    Other libraries stay above DEBUG on purpose: HTTP clients log headers there, and headers carry tokens.
    """
    stream = logging.StreamHandler(sys.stdout)
    stream.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[stream], force=True)
    logging.getLogger("embedding").setLevel(level)
