"""What a caller of embed_corpus gives, checked before anything is read or paid for: from Python it may be anything."""

from collections.abc import Mapping

from embedding.on_modal.jobs import JobError
from embedding.settings import CorpusSettings, Settings

OPTIONS = tuple(name for name in CorpusSettings.model_fields if name not in ("to", "index"))  # `to` is an argument
MODEL = ("MODEL_ID", "MODEL_REVISION", "ENGINE", "PRECISION")


def check_arguments(
    address: object, output: object, options: object, containers: object, to: object, model: object
) -> None:
    """Raise JobError where a caller from Python gave what no command line can give."""
    for name, value in (("address", address), ("output", output)):
        if not isinstance(value, str) or not value.strip():
            raise JobError(f"{name} is {value!r}, and must be a string that is not blank.")
    if not isinstance(to, str | None):
        raise JobError(f"to is {to!r}, and must be a string, or None.")
    if not isinstance(containers, int) or isinstance(containers, bool) or containers < 1:
        raise JobError(f"containers is {containers!r}, and must be a whole number of 1 or more.")
    for name, given, names in (("options", options, OPTIONS), ("model", model, MODEL)):
        if not isinstance(given, Mapping):
            raise JobError(f"{name} must be a dict, not of type {type(given).__name__}.")
        if unknown := [each for each in given if each not in names]:
            raise JobError(f"{name} has {unknown[0]!r}. There are {', '.join(names)}.")


def check_model(counted_on: Mapping[str, str], settings: Settings) -> None:
    """Raise JobError where the app computes with another model than the caller counts on: it makes other vectors."""
    for name, value in counted_on.items():
        here = getattr(settings, name.lower())
        if here != value:
            raise JobError(f"the deployed app has {name}={here}, not {value}. Deploy it anew, or leave {name} out.")
