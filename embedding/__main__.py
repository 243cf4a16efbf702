"""The command line: `python -m embedding [serve]`."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from embedding.demo import demo_settings
from embedding.model import ModelUnavailable
from embedding.model.load import make_ready
from embedding.model.weights import fetch
from embedding.settings import Settings, SettingsError
from embedding.telemetry import configure_logging

COMMANDS = {
    "serve": "answer HTTP requests (the default)",
    "download": "fetch the model, and prepare it where that is needed, so that serve starts at once",
    "prepare": "make a model a self-contained folder for the onnx engine, which serve takes as --model",
}
SECRETS = {"auth_token", "hf_token"}  # by environment only: a command line is there for all to see
FLAGS = {"model_id": "model", "model_revision": "revision"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback; serve has handlers of its own
    flags = vars(_parser().parse_args(arguments))
    command, output = flags.pop("command"), flags.pop("output", None)
    try:
        settings = Settings.read(**flags)
        configure_logging(settings.log_level)
        return RUN[command](settings, output)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
    except ModelUnavailable as error:
        print(f"error: {error} To try the service without this model: --demo.", file=sys.stderr)
    return 1


def _serve(settings: Settings, _output: Path | None) -> int:
    from embedding.server import serve

    return serve(settings)


def _download(settings: Settings, _output: Path | None) -> int:
    print(make_ready(demo_settings(settings)))
    return 0


def _prepare(settings: Settings, output: Path | None) -> int:
    if output is None:
        raise SettingsError("prepare needs --output FOLDER.")
    settings = demo_settings(settings)
    source = fetch(settings.model_id, settings.model_revision, settings.hub_token)
    from embedding.model.prepare import prepare, say

    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, lambda *_: sys.exit(130))  # by which what was begun is cleaned up
    try:
        prepare(source, output, source_id=settings.model_id, precision=settings.precision, progress=say)
    except OSError as error:
        raise ModelUnavailable(f"{output} can't be written: {error.strerror or error}.") from error
    print(f"prepared {output}; serve it with --model {output}")
    return 0


RUN = {"serve": _serve, "download": _download, "prepare": _prepare}


def _parser() -> argparse.ArgumentParser:
    """A flag for every option that is no secret, named and described by its field in Settings."""
    parser = argparse.ArgumentParser(
        prog="python -m embedding",
        description="Text in, vector out. Every option is also an environment variable (in brackets); a flag wins.",
        epilog="Secrets come by environment only: auth_token (needed, except with --demo) and HF_TOKEN.",
        argument_default=argparse.SUPPRESS,
    )
    commands = "; ".join(f"{name}: {meaning}" for name, meaning in COMMANDS.items())
    parser.add_argument("command", nargs="?", choices=COMMANDS, default="serve", help=commands)
    parser.add_argument("--output", metavar="FOLDER", type=Path, help="where prepare writes the folder")
    for name, field in Settings.model_fields.items():
        if name in SECRETS:
            continue
        flag = "--" + FLAGS.get(name, name).replace("_", "-")
        meaning = f"{field.description} [{name.upper()}, default {field.default}]"
        options: dict[str, Any] = {"dest": name, "help": meaning}
        if field.annotation is bool:
            options["action"] = "store_true"
        elif get_origin(field.annotation) is Literal:
            options["choices"] = get_args(field.annotation)
        else:
            options["metavar"] = name.rpartition("_")[2].upper()
        parser.add_argument(flag, **options)
    return parser


if __name__ == "__main__":
    sys.exit(main())
