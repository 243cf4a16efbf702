"""From a model's name to an engine that answers."""

import logging
import time
from pathlib import Path

from embedding.model.artifacts import prepared
from embedding.model.engine import Engine
from embedding.model.errors import ModelUnavailable
from embedding.model.manifest import is_prepared
from embedding.model.weights import fetch
from embedding.settings import Settings, SettingsError

logger = logging.getLogger(__name__)

GPU = Path("/dev/nvidia0")


def load_engine(settings: Settings) -> Engine:
    """Make the model that `settings` name ready, and load it. Raises ModelUnavailable; SettingsError for HF_TOKEN."""
    start = time.perf_counter()
    try:
        folder = make_ready(settings)
        engine = _load(folder, settings)
    except (ModelUnavailable, SettingsError):
        raise
    except Exception as error:
        logger.debug("the model did not load", exc_info=True)
        reason = str(error).strip().split("\n")[0]
        raise ModelUnavailable(f"{settings.model_id} can't be loaded: {type(error).__name__}: {reason}") from error
    logger.info("loaded in %.1f s: %s", time.perf_counter() - start, engine.info)
    return engine


def make_ready(settings: Settings) -> Path:
    """The folder to load: the model's own, fetched, or a prepared one where the onnx engine is to serve it.

    Raises ModelUnavailable.
    """
    folder = fetch(settings.model_id, settings.model_revision, settings.hub_token)
    if is_prepared(folder) or _wants_torch(settings):
        return folder
    try:
        return prepared(folder, settings.model_id)
    except ModelUnavailable as reason:
        if settings.engine == "onnx" or settings.precision == "int8":
            raise
        logger.warning("%s The torch engine serves it.", reason)
        return folder


def _wants_torch(settings: Settings) -> bool:
    if settings.engine == "auto":
        # Whether torch sees a GPU takes seconds to ask; whether the machine has one does not.
        return settings.precision == "bfloat16" or GPU.exists()
    return settings.engine == "torch"


def _load(folder: Path, settings: Settings) -> Engine:
    """Imports no more than the engine that is wanted needs."""
    if not is_prepared(folder):
        from embedding.model.torch_engine import TorchEngine

        return TorchEngine(folder, settings.model_id, settings.precision)
    if settings.engine == "torch":
        raise ModelUnavailable(f"{folder} is prepared for the onnx engine; for torch, name the model itself.")
    from embedding.model.onnx_engine import OnnxEngine

    return OnnxEngine(folder, settings.precision)
