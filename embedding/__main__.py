"""The command line: `python -m embedding [serve]`."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

from embedding.model import ModelUnavailable
from embedding.settings import Settings, SettingsError
from embedding.telemetry import configure_logging

COMMANDS = {
    "serve": "answer HTTP requests (the default)",
    "download": "fetch the model into the hub's cache, and end",
}
SECRETS = {"auth_token", "hf_token"}  # by environment only: a command line is there for all to see
FLAGS = {"model_id": "model", "model_revision": "revision"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    flags = vars(_parser().parse_args(arguments))
    command = flags.pop("command")
    try:
        settings = Settings.read(**flags)
        configure_logging(settings.log_level)
        return _download(settings) if command == "download" else _serve(settings)
    except (SettingsError, ModelUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _serve(settings: Settings) -> int:
    from embedding.server import serve

    return serve(settings)


def _download(settings: Settings) -> int:
    from embedding.model.weights import fetch

    print(fetch(settings.model_id, settings.model_revision, settings.hf_token.get_secret_value() or None))
    return 0


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
