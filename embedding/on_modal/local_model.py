"""A model of the machine that deploys: whether MODEL_ID names one, and whether all of it can be uploaded."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")


class NoModel(Exception):
    """MODEL_ID names neither a model here nor one of the hub; the message says what it is instead."""


def find_local_model(model_id: str) -> Path | None:
    """The folder that `model_id` names; None where it is the id of a model of the hub. Raises NoModel."""
    try:
        folder = Path(model_id).expanduser()
        there = os.path.lexists(folder)
    except (RuntimeError, ValueError, OSError):  # a user without a home, a null byte, a name too long
        raise NoModel("no path that can be read") from None
    if not there:
        if not HUB_ID.fullmatch(model_id):
            raise NoModel("and there is no such folder here, nor such a hub id")
        return None
    if not folder.is_dir():
        raise NoModel("a link to nothing" if folder.is_symlink() and not folder.exists() else "no folder")
    _check(folder)
    return folder.resolve()


def place_in_image(folder: Path) -> str:
    """Where the folder goes in the image. Its name is what callers see of the model; a Dockerfile takes no blanks."""
    return f"/models/{re.sub('[^A-Za-z0-9._-]+', '-', folder.name)}"


def is_hidden(path: Path) -> bool:
    """Whether a file of the folder is not uploaded, such as .git, or a .env that happens to lie there."""
    return any(part.startswith(".") for part in path.parts)


def _check(folder: Path) -> None:
    """Raise NoModel where the folder is no model, or lacks a file that it links to."""
    if not (folder / "modules.json").is_file() and not _is_prepared(folder):
        raise NoModel("a folder without a SentenceTransformer's modules.json, and not what `prepare` wrote")
    for file in _files(folder):
        if not file.exists():
            raise NoModel(f"a folder whose {file.relative_to(folder)} is a link to nothing")


def _is_prepared(folder: Path) -> bool:
    """Whether it has the manifest of a prepared model. A folder of vectors has a file of that name, too."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and "files" in manifest and "fidelity" in manifest


def _files(folder: Path) -> Iterator[Path]:
    for where, _, names in os.walk(folder):
        for name in names:
            if not is_hidden((Path(where) / name).relative_to(folder)):
                yield Path(where) / name
