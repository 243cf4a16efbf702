"""From a model's name to an engine that answers."""

import logging
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

from embedding.model.checked import CheckedEngine
from embedding.model.engine import Engine, ServedEngine, Task
from embedding.model.errors import InvalidArtifact, ModelUnavailable, TextError
from embedding.model.fetch.content import content_digest
from embedding.model.fetch.manifest import is_prepared
from embedding.model.fetch.prepared import find_or_prepare, find_prepared
from embedding.model.fetch.recordings import find_recording
from embedding.model.fetch.resolved import ResolvedModel
from embedding.model.fetch.weights import download, find_local
from embedding.model.progress import Report, to_nobody
from embedding.settings import Settings, SettingsError

logger = logging.getLogger(__name__)

GPU = Path("/dev/nvidia0")
WARM_UP_WORDS = (1, 8, 64, 256)


def load_engine(settings: Settings, report: Report = to_nobody, model: ResolvedModel | None = None) -> ServedEngine:
    """Make the model that `settings` name ready, and load it. Raises ModelUnavailable; SettingsError for HF_TOKEN.

    `model` is what `fetch_and_prepare` made of the same settings, where its caller has that already.
    """
    start = time.perf_counter()
    try:
        model = model or fetch_and_prepare(settings, report)
        report("loading the model", None)
        engine = CheckedEngine(_load(model, settings))
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


def fetch_and_prepare(settings: Settings, report: Report = to_nobody) -> ResolvedModel:
    """The model to load: as it was fetched, or as it was prepared where the onnx engine is to serve it.

    Raises ModelUnavailable.
    """
    name, revision, torch = settings.model_id, settings.model_revision, _wants_torch(settings)
    folder = find_local(name, revision)
    if folder and is_prepared(folder):
        if settings.engine == "torch":
            raise ModelUnavailable(f"{folder} is prepared for the onnx engine; for torch, name the model itself.")
        return ResolvedModel.prepared(name, revision, folder)
    if folder is None and not torch and (made := _find_without_weights(settings)):
        return made
    if not torch_is_installed():
        _refuse_without_torch(settings, None if torch else folder)
    folder = folder or download(name, revision, settings.hub_token, report)
    unprepared = ResolvedModel(name, revision, folder)
    if torch:
        return unprepared
    try:
        return find_or_prepare(folder, name, revision, settings.precision, report)
    except ModelUnavailable as reason:
        if settings.engine == "onnx" or settings.precision == "int8":
            raise type(reason)(f"{reason} Try PRECISION=float32, or ENGINE=torch with PRECISION=auto.") from None
        if not torch_is_installed():
            raise
        logger.warning("%s The torch engine serves it.", reason)
        return unprepared


def _find_without_weights(settings: Settings) -> ResolvedModel | None:
    """The prepared model of which the weights were removed, as an image does. Raises InvalidArtifact."""
    try:
        return find_prepared(settings.model_id, settings.model_revision, settings.precision)
    except InvalidArtifact as error:
        if not torch_is_installed():
            raise
        logger.warning("%s It is fetched and prepared again.", error)
        return None


def _refuse_without_torch(settings: Settings, folder: Path | None) -> None:
    """Raise ModelUnavailable unless the model in `folder` can be prepared without torch, with what is installed."""
    if not folder or not find_recording(content_digest(folder)):
        raise ModelUnavailable(
            f"{settings.model_id} is not prepared for ENGINE={settings.engine} and PRECISION={settings.precision}, and "
            "there is no torch here to prepare or serve it with: pip install -r requirements.txt. An image has to be "
            "built anew with the MODEL_ID, MODEL_REVISION, ENGINE and PRECISION that it is to serve."
        )
    if missing := [name for name in ("onnx", "safetensors") if find_spec(name) is None]:
        raise ModelUnavailable(f"the model can't be prepared without {missing[0]}: pip install {' '.join(missing)}.")


def torch_is_installed() -> bool:
    """Whether torch could be imported, which is not done."""
    return find_spec("torch") is not None


def _wants_torch(settings: Settings) -> bool:
    if settings.engine == "auto":
        # Whether torch sees a GPU takes seconds to ask; whether the machine has one does not.
        return torch_is_installed() and (settings.precision == "bfloat16" or GPU.exists())
    return settings.engine == "torch"


def _load(model: ResolvedModel, settings: Settings) -> ServedEngine:
    """Imports no more than the engine that is wanted needs."""
    if model.manifest is None:
        from embedding.model.torch_engine import TorchEngine

        return TorchEngine(model.folder, model.name, settings.precision, settings.threads)
    from embedding.model.onnx_engine import OnnxEngine

    while True:
        try:
            engine = OnnxEngine(model.folder, settings.precision, settings.threads, model.manifest)
        except Exception:
            if not model.was_replaced:
                raise
        else:
            if not model.was_replaced:
                return engine
        # `prepare` replaced the folder between two of its files: the next try finds the new folder's.
        model = model.read_again()
