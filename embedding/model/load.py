"""From a model's name to an engine that answers."""

import logging
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

from embedding.model.checked import CheckedEngine
from embedding.model.engine import Engine, Task
from embedding.model.errors import ModelUnavailable, TextError
from embedding.model.fetch.manifest import is_prepared
from embedding.model.fetch.prepared import find_or_prepare, find_prepared
from embedding.model.fetch.weights import download, find_local
from embedding.model.progress import Report, to_nobody
from embedding.settings import Settings, SettingsError

logger = logging.getLogger(__name__)

GPU = Path("/dev/nvidia0")
WARM_UP_WORDS = (1, 8, 64, 256)


def load_engine(settings: Settings, report: Report = to_nobody) -> Engine:
    """Make the model that `settings` name ready, and load it. Raises ModelUnavailable; SettingsError for HF_TOKEN."""
    start = time.perf_counter()
    try:
        folder = fetch_and_prepare(settings, report)
        report("loading the model", None)
        engine = CheckedEngine(_load(folder, settings))
    except (ModelUnavailable, SettingsError):
        raise
    except Exception as error:
        logger.debug("the model did not load", exc_info=True)
        reason = str(error).strip().split("\n")[0]
        raise ModelUnavailable(f"{settings.model_id} can't be loaded: {type(error).__name__}: {reason}") from error
    logger.info("loaded in %.1f s: %s", time.perf_counter() - start, engine.info)
    return engine


def warm_up(engine: Engine) -> None:
    """Embed texts of growing length, so that no caller waits for what the first call of its size sets up."""
    for words in WARM_UP_WORDS:
        for task in get_args(Task):
            with suppress(TextError):  # a model's vocabulary may lack the word
                engine.embed(engine.tokenize(["warm " * words], task))


def fetch_and_prepare(settings: Settings, report: Report = to_nobody) -> Path:
    """The folder to load: the model's own, fetched, or a prepared one where the onnx engine is to serve it.

    Raises ModelUnavailable.
    """
    name, revision, torch = settings.model_id, settings.model_revision, _wants_torch(settings)
    folder = find_local(name, revision)
    if folder is None and not torch and (made := find_prepared(name, revision, settings.precision)):
        return made  # its weights were removed, as an image does
    if not (torch_is_installed() or (folder and is_prepared(folder))):
        raise ModelUnavailable(
            f"{name} is not prepared for ENGINE={settings.engine} and PRECISION={settings.precision}, and there is no "
            "torch here to prepare or serve it with: pip install -r requirements.txt. An image has to be built anew "
            "with the MODEL_ID, MODEL_REVISION, ENGINE and PRECISION that it is to serve."
        )
    folder = folder or download(name, revision, settings.hub_token, report)
    if is_prepared(folder) or torch:
        return folder
    try:
        return find_or_prepare(folder, name, revision, settings.precision, report)
    except ModelUnavailable as reason:
        if settings.engine == "onnx" or settings.precision == "int8":
            raise type(reason)(f"{reason} Try PRECISION=float32, or ENGINE=torch with PRECISION=auto.") from None
        logger.warning("%s The torch engine serves it.", reason)
        return folder


def torch_is_installed() -> bool:
    """Whether torch could be imported, which is not done."""
    return find_spec("torch") is not None


def _wants_torch(settings: Settings) -> bool:
    if settings.engine == "auto":
        # Whether torch sees a GPU takes seconds to ask; whether the machine has one does not.
        return torch_is_installed() and (settings.precision == "bfloat16" or GPU.exists())
    return settings.engine == "torch"


def _load(folder: Path, settings: Settings) -> Engine:
    """Imports no more than the engine that is wanted needs."""
    if not is_prepared(folder):
        from embedding.model.torch_engine import TorchEngine

        return TorchEngine(folder, settings.model_id, settings.precision, settings.threads)
    if settings.engine == "torch":
        raise ModelUnavailable(f"{folder} is prepared for the onnx engine; for torch, name the model itself.")
    from embedding.model.onnx_engine import OnnxEngine

    return OnnxEngine(folder, settings.precision, settings.threads)
