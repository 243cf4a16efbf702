"""From a model's name to an engine that answers."""

import logging
import time

from embedding.model.engine import Engine
from embedding.model.errors import ModelUnavailable
from embedding.model.weights import fetch
from embedding.settings import Settings

logger = logging.getLogger(__name__)


def load_engine(settings: Settings) -> Engine:
    """Fetch the model that `settings` name and load it.

    Raises ModelUnavailable.
    """
    start = time.perf_counter()
    try:
        folder = fetch(settings.model_id, settings.model_revision, settings.hf_token.get_secret_value() or None)
        logger.info("loading %s", settings.model_id)
        from embedding.model.torch_engine import TorchEngine

        engine = TorchEngine(folder, settings.model_id, settings.precision)
    except ModelUnavailable:
        raise
    except Exception as error:
        logger.debug("the model did not load", exc_info=True)
        reason = str(error).strip().split("\n")[0]
        raise ModelUnavailable(f"{settings.model_id} can't be loaded: {type(error).__name__}: {reason}") from error
    logger.info("loaded in %.1f s: %s, %d wide", time.perf_counter() - start, engine.description, engine.width)
    return engine
