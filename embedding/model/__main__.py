"""Make ready the model that the environment names: `python -m embedding.model`, for images.

For the onnx engine in one precision alone, so that the image is small: PRECISION, or by default int8, or float32 where
int8 is not near enough. It needs this room, atomic.py, settings.py and telemetry/logs.py alone, so that in an image a
change of other code does not prepare the model anew. (A change of this room does: the manifest's fidelity is of the
code that serves.)
"""

import sys

from embedding.model.errors import ModelUnavailable, UnsupportedModel
from embedding.model.fetch.manifest import PRECISIONS, verify
from embedding.model.fetch.resolved import ResolvedModel
from embedding.model.load import fetch_and_prepare
from embedding.settings import Settings, SettingsError
from embedding.telemetry.logs import configure_logging


def main() -> int:
    """The exit status."""
    try:
        settings = Settings.read()
        configure_logging(settings.log_level)
        model = prepare_smallest(settings)
        if model.manifest is None and settings.engine != "torch":
            # An image keeps torch and the weights for ENGINE=torch alone.
            raise ModelUnavailable(f"ENGINE={settings.engine} serves {model.name} by torch here. Set ENGINE=torch.")
        if model.manifest:
            verify(model.folder)  # what is baked into an image is read once, by every byte
        print(model.folder)
    except (ModelUnavailable, SettingsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def prepare_smallest(settings: Settings) -> ResolvedModel:
    """The model to load, as `fetch_and_prepare` gives it, with as little in it as serves. Raises ModelUnavailable."""
    if settings.engine != "onnx" or settings.precision != "auto":
        return fetch_and_prepare(settings)
    *smaller, last = (settings.model_copy(update={"precision": precision}) for precision in PRECISIONS)
    for each in smaller:
        try:
            return fetch_and_prepare(each)
        except UnsupportedModel as reason:
            print(f"not in {each.precision}: {reason}")
    return fetch_and_prepare(last)


if __name__ == "__main__":
    sys.exit(main())
