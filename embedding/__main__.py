"""The command line: `python -m embedding [serve]`."""

import argparse
import signal
import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

try:
    from embedding.demo import demo_settings
    from embedding.model import ModelUnavailable
    from embedding.model.errors import UnsupportedModel
    from embedding.model.fetch.manifest import verify
    from embedding.model.fetch.weights import fetch
    from embedding.model.load import fetch_and_prepare
    from embedding.settings import CorpusSettings, Options, Settings, SettingsError
    from embedding.telemetry.logs import configure_logging
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"error: {missing.name} is not installed. The service needs this package with its extra [serve], or [all]; "
        "[client] alone is for programs that import embedding.client."
    ) from None

SECRETS = {"auth_token", "hf_token"}  # by environment only: a command line is there for all to see
# What concerns the model, whatever is done with it; the rest of Settings is about serving it.
MODEL_OPTIONS = ("model_id", "model_revision", "demo", "engine", "threads", "precision", "log_level")
FLAGS = {"model_id": "model", "model_revision": "revision"}
DESCRIPTION = "Every option is also an environment variable (in brackets); a flag wins."
EPILOG = "Secrets come by environment only: auth_token (which serve needs, except with --demo) and HF_TOKEN."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback; some commands have their own
    flags = vars(_parser().parse_args(arguments))
    run = flags.pop("run")
    try:
        settings = Settings.read(**{name: flags.pop(name) for name in Settings.model_fields if name in flags})
        configure_logging(settings.log_level, settings.log_format)
        return int(run(settings, **flags))
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
    except ModelUnavailable as error:
        print(f"error: {error} To try the service without this model: --demo.", file=sys.stderr)
    return 1


def _serve(settings: Settings) -> int:
    from embedding.server import serve

    return serve(settings)


def _download(settings: Settings) -> int:
    model = fetch_and_prepare(demo_settings(settings))
    if model.manifest:
        verify(model.folder)
    print(model.folder)
    return 0


def _prepare(settings: Settings, output: Path) -> int:
    precision, settings = settings.precision, demo_settings(settings)
    from embedding.model.prepare import prepare, print_progress, refuse_to_replace

    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, lambda *_: sys.exit(130))  # by which what was begun is cleaned up
    try:
        refuse_to_replace(output)  # before the model is fetched
        source = fetch(settings.model_id, settings.model_revision, settings.hub_token)
        prepare(source, output, source_id=settings.model_id, precision=precision, report=print_progress)
        verify(output)
    except UnsupportedModel as error:
        raise UnsupportedModel(f"{error}. ENGINE=torch serves the model as it is, unprepared.") from error
    except OSError as error:
        raise ModelUnavailable(f"{output} can't be written: {error.strerror or error}.") from error
    print(f"prepared {output}; serve it with --model {output}")
    return 0


def _embed(settings: Settings, input: list[str], output: Path, **flags: Any) -> int:
    corpus = CorpusSettings.read(**flags)
    if missing := [name for name in ("pyarrow", "fsspec", "charset_normalizer") if find_spec(name) is None]:
        raise SettingsError(f"embed needs {missing[0]}, which is not installed: pip install -r requirements.txt")
    from embedding.corpus import CorpusError
    from embedding.corpus.command import embed

    try:
        return embed(settings, corpus, input, output, sorted(corpus.model_fields_set - flags.keys()))
    except CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    """A parser a command, and serve's in front of them all, since it is the default."""
    model = _options(Settings, MODEL_OPTIONS)
    serving = _options(Settings, [name for name in Settings.model_fields if name not in MODEL_OPTIONS])
    parser = argparse.ArgumentParser(
        prog="python -m embedding",
        description=f"Text in, vector out. {DESCRIPTION}",
        epilog=EPILOG,
        argument_default=argparse.SUPPRESS,
        parents=[model, serving],
    )
    parser.set_defaults(run=_serve)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def add(name: str, run: Any, meaning: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        about = f"{meaning[0].upper()}{meaning[1:]}. {DESCRIPTION}"
        command = commands.add_parser(
            name, help=meaning, description=about, argument_default=argparse.SUPPRESS, parents=[*parents, model]
        )
        command.set_defaults(run=run)
        return command

    add("serve", _serve, "answer HTTP requests (the default)", serving)
    add("download", _download, "fetch the model, and prepare it where that is needed, so that serve starts at once")
    prepare = add("prepare", _prepare, "make a model a folder for the onnx engine, which serve takes as --model")
    prepare.add_argument("--output", metavar="FOLDER", type=Path, required=True, help="where the folder is written")
    embed = add(
        "embed", _embed, "a file of texts to a folder of vectors; run again, it goes on", _options(CorpusSettings)
    )
    kinds = (
        "files (.parquet .jsonl .json .csv .tsv .txt .md .arrow .lance; also .gz .zst .bz2 .xz .zip), folders and '*' "
        "patterns of such, - for standard input, or an address: hf://datasets/OWNER/NAME/PATH, s3://, gs://, https://"
    )
    embed.add_argument("input", metavar="INPUT", nargs="+", help=kinds)
    embed.add_argument("--output", metavar="FOLDER", type=Path, required=True, help="where the vectors are written")
    return parser


def _options(options: type[Options], names: Iterable[str] | None = None) -> argparse.ArgumentParser:
    """A flag for each of `names` that is no secret, described by its field."""
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    for name in names or options.model_fields:
        if name in SECRETS:
            continue
        field = options.model_fields[name]
        flag = "--" + FLAGS.get(name, name).replace("_", "-")
        about: dict[str, Any] = {"dest": name, "help": f"{field.description} [{name.upper()}, default {field.default}]"}
        if field.annotation is bool:
            about["action"] = "store_true"
        elif get_origin(field.annotation) is Literal:
            about["choices"] = get_args(field.annotation)
        else:
            about["metavar"] = name.rpartition("_")[2].upper()
        parser.add_argument(flag, **about)
    return parser


if __name__ == "__main__":
    sys.exit(main())
