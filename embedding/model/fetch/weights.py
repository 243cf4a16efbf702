"""Find a model's files: in a local folder, in the hub's cache or on the hub. Only safetensors, never a model's code."""

import errno
import json
import logging
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from embedding.model.errors import ModelUnavailable
from embedding.model.fetch.manifest import is_prepared
from embedding.model.fetch.text_part import CONFIG, INDEX, shards
from embedding.model.progress import Report, to_nobody

logger = logging.getLogger(__name__)

NEEDED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.codes", "*.jinja"]
UNNEEDED = ["onnx/*", "openvino/*", "*_bin/*", "training_args*", "optimizer*"]
ATTEMPTS = 4
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_ACCESS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}


def fetch(model_id: str, revision: str = "main", token: str | None = None, report: Report = to_nobody) -> Path:
    """The folder of a SentenceTransformer: the local one, else a download. Raises ModelUnavailable."""
    return find_local(model_id, revision) or download(model_id, revision, token, report)


def find_local(model_id: str, revision: str = "main") -> Path | None:
    """`model_id` itself where it is a folder, else its snapshot in the hub's cache, used as it is without a request.

    Raises ModelUnavailable for what is neither a whole model nor a hub id.
    """
    try:
        folder = Path(model_id).expanduser()
        is_folder = folder.is_dir()
    except (OSError, RuntimeError) as error:
        raise ModelUnavailable(f"{model_id[:100]} can't be looked up: {error}.") from None
    if is_folder:
        check(folder)
        return folder
    if model_id.startswith((".", "/", "~")) or model_id.count("/") > 1:
        raise ModelUnavailable(f"there is no folder {model_id}. Set MODEL_ID to a folder that exists, or to a hub id.")
    return _cached(model_id, revision)


def check(folder: Path) -> None:
    """Raise ModelUnavailable unless `folder` holds a prepared model, or a whole SentenceTransformer in safetensors."""
    if is_prepared(folder):
        return
    try:
        modules = json.loads((folder / "modules.json").read_text("utf-8"))
        parts = [(str(module["type"]), folder / str(module["path"])) for module in modules]
    except FileNotFoundError:
        raise ModelUnavailable(
            f"{folder} is no SentenceTransformer: it has no modules.json. Save the model there with model.save(folder)."
        ) from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelUnavailable(f"{folder / 'modules.json'} can't be read: {error}.") from None
    for kind, part in parts:
        _check_part(kind, part)


def _check_part(kind: str, folder: Path) -> None:
    if not kind.startswith("sentence_transformers."):
        raise ModelUnavailable(
            f"the model needs code of its own ({kind}), which is not run here. Choose a model made of "
            "sentence_transformers modules."
        )
    if unreadable := [path.name for path in folder.glob("*") if path.is_file() and not os.access(path, os.R_OK)]:
        raise ModelUnavailable(
            f"{folder} has files that this user may not read: {', '.join(unreadable)}. Allow it: chmod -R a+rX {folder}"
        )
    if any(folder.glob("pytorch_model*.bin")) and not any(folder.glob("*.safetensors")):
        raise ModelUnavailable(
            f"{folder} has its weights in pickled .bin files only, which can run code when loaded. "
            "Save the model again with safetensors."
        )
    if kind.endswith((".Transformer", ".Dense")) and not any(folder.glob("*.safetensors")):
        raise ModelUnavailable(f"{folder} has no weights (*.safetensors). Fetch the model again.")
    for index in folder.glob("*.safetensors.index.json"):
        try:
            needed, _ = shards(index)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelUnavailable(f"{index} can't be read: {error!r}. Fetch the model again.") from None
        whole = index.name.removesuffix(".index.json")
        if whole not in needed and (folder / whole).is_file():
            continue  # that is read, and not the parts of which it was made
        if missing := sorted(shard for shard in needed if not (folder / shard).is_file()):
            raise ModelUnavailable(f"{folder} lacks {', '.join(missing)}. Fetch the model again.")


def _cached(model_id: str, revision: str) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(
                model_id, revision=revision, local_files_only=True, allow_patterns=NEEDED, ignore_patterns=UNNEEDED
            )
        )
        check(folder)
    except HFValidationError:
        raise ModelUnavailable(f"{model_id!r} is neither a folder nor a hub id such as owner/model.") from None
    except (LocalEntryNotFoundError, ModelUnavailable):
        return None
    return folder


def download(model_id: str, revision: str = "main", token: str | None = None, report: Report = to_nobody) -> Path:
    """The model's snapshot from the hub: what is needed of it, once. `token` is a Hugging Face token with read access.

    Raises ModelUnavailable.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.logging import set_verbosity_error
    from huggingface_hub.utils.tqdm import disable_progress_bars

    set_verbosity_error()  # type: ignore[no-untyped-call]  # it retries and warns aloud; what matters of that is said here
    warnings.filterwarnings("ignore", module="huggingface_hub")
    if not sys.stderr.isatty():
        disable_progress_bars()
    logger.info("downloading %s (revision %s)", model_id, revision)
    report("downloading the model", None)
    for attempt in range(ATTEMPTS):
        try:
            first = snapshot_download(model_id, revision=revision, token=token, allow_patterns=[CONFIG, INDEX])
            folder = snapshot_download(
                model_id,
                revision=revision,
                token=token,
                allow_patterns=NEEDED,
                ignore_patterns=[*UNNEEDED, *_unneeded_shards(Path(first) / INDEX)],
                tqdm_class=_bar(report),
            )
            break
        except Exception as error:
            reason, passing = _explain(error, model_id, revision, token)
            if not passing or attempt == ATTEMPTS - 1:
                raise ModelUnavailable(reason) from None  # its cause may hold the token
            logger.warning("%s Trying again in %d s.", reason, 2**attempt)
            time.sleep(2**attempt)
    check(Path(folder))
    return Path(folder)


def _unneeded_shards(index: Path) -> list[str]:
    """The files of weights that hold nothing that reads text."""
    try:
        return sorted(shards(index)[1]) if index.exists() else []
    except (ValueError, KeyError, TypeError, AttributeError):
        return []  # `check` says what is wrong with it


def _bar(report: Report) -> Any:
    """The hub's progress bar, which also reports: it counts the bytes of all files."""
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            self._done, self._tenth = 0.0, 0
            self._counts = options.get("name") == "huggingface_hub.snapshot_download"
            super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> bool | None:
            self._done += n or 0  # the bar's own count stands still where it is not shown
            if self._counts and self.total:
                fraction = min(1.0, self._done / self.total)
                report("downloading the model", fraction)
                if self.disable and int(10 * fraction) > self._tenth:
                    self._tenth = int(10 * fraction)
                    logger.info("downloaded %d %% of %.0f MB", 100 * fraction, self.total / 1e6)
            return super().update(n)  # type: ignore[no-any-return]

    return Bar


def _explain(error: Exception, model_id: str, revision: str, token: str | None) -> tuple[str, bool]:
    """What a failed download means and what to do, and whether it may pass by itself."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    hub = constants.ENDPOINT
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # the request that failed, before the cache was looked at instead
    access = "the account behind HF_TOKEN" if token else "an account of yours, and set HF_TOKEN to its token"
    match error:
        case GatedRepoError():
            return f"{model_id} is gated. Accept its terms at {hub}/{model_id} with {access}.", False
        case RevisionNotFoundError():
            return f"{model_id} has no revision {revision!r}. Set MODEL_REVISION to one that it has.", False
        case RepositoryNotFoundError():
            return _explain_missing(model_id, hub, token), False
        case HfHubHTTPError():
            return _explain_status(error.response.status_code, model_id, hub, token)
        case OfflineModeIsEnabled() | LocalEntryNotFoundError() if constants.HF_HUB_OFFLINE:
            return f"{model_id} is not in the cache ({constants.HF_HUB_CACHE}), and HF_HUB_OFFLINE is set.", False
        case OSError(errno=code) if code in NO_ROOM:
            return f"there is no room for {model_id} in {constants.HF_HUB_CACHE}. Free some, or set HF_HOME.", False
        case OSError(errno=code) if code in NO_ACCESS:
            return (
                f"{constants.HF_HUB_CACHE} can't be used ({error.strerror}). Set HF_HOME to another folder.",
                False,
            )
    return (
        f"{model_id} could not be fetched from {hub} ({type(error).__name__}). Check the network, and MODEL_ID.",
        True,
    )


def _explain_missing(model_id: str, hub: str, token: str | None) -> str:
    mend = "check the rights of HF_TOKEN" if token else "set HF_TOKEN to a token that can read it"
    return f"{model_id} is not on {hub}, or it is private: check MODEL_ID, or {mend}."


def _explain_status(status: int, model_id: str, hub: str, token: str | None) -> tuple[str, bool]:
    match status:
        case 401 | 403 if not token:
            return _explain_missing(model_id, hub, token), False
        case 401:
            return f"{hub} does not accept HF_TOKEN, so {model_id} can't be fetched. Set it to a valid token.", False
        case 403:
            return f"HF_TOKEN may not read {model_id}. Give the token read access to it.", False
        case 429:
            mend = "Try later." if token else "Set HF_TOKEN (it raises the limit), or try later."
            return f"{hub} asks to slow down (429). {mend}", True
    return f"{hub} answered {status} for {model_id}.", status >= 500 or status == 408
