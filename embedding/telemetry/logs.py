"""Logs: one line an event on standard output, plain or JSON, and never a text or a token in one."""

import json
import logging
import sys
import time
import traceback

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure_logging(level: str, log_format: str = "plain") -> None:
    """Log this package at `level`, and everything else from WARNING up: plain, or "json".

    Other libraries stay above DEBUG on purpose: HTTP clients log headers there, and headers carry tokens.
    """
    stream = logging.StreamHandler(sys.stdout)
    plain = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    stream.setFormatter(JsonFormatter() if log_format == "json" else plain)
    logging.basicConfig(level=logging.WARNING, handlers=[stream], force=True)
    logging.getLogger("embedding").setLevel(level)


def raised_at(error: BaseException) -> str:
    """An error's type and where it was raised, from the inside out; not its message, which may quote a text."""
    frames = reversed(traceback.extract_tb(error.__traceback__))
    return f"{type(error).__name__} at {' < '.join(f'{f.filename}:{f.lineno} {f.name}' for f in frames)}"


class JsonFormatter(logging.Formatter):
    """A JSON object a line: time (UTC), level, logger, message, and what the event brings as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{seconds}.{record.msecs:03.0f}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _STANDARD},
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)
