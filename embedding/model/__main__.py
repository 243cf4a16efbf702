"""Make ready the model that the environment names: `python -m embedding.model`, for images.

It needs this room, settings.py and telemetry.py alone, so that in an image a change of any other code does not
prepare the model anew. (A change of this room does: the manifest's fidelity is that of the code which serves.)
"""

import sys

from embedding.model.errors import ModelUnavailable
from embedding.model.load import make_ready
from embedding.settings import Settings, SettingsError
from embedding.telemetry import configure_logging


def main() -> int:
    """The exit status."""
    try:
        settings = Settings.read()
        configure_logging(settings.log_level)
        print(make_ready(settings))
    except (ModelUnavailable, SettingsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
