"""What a prepared folder says about itself, and whether that is so."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from embedding.model.engine import Task
from embedding.model.errors import InvalidArtifact

FORMAT = 7
EXACT = "float32"
PRECISIONS = ("int8", EXACT)
MANIFEST = "manifest.json"
CALIBRATION = "calibration.npy"
"""Vectors of sample texts, by SentenceTransformer: float32, (texts, dimension)."""
MODULES = "modules.json"
TOKENIZER = "tokenizer.json"
TOOLS = ("onnx", "onnxruntime", "tokenizers", "numpy", "sentence-transformers", "transformers", "torch")
MEND = "Prepare the model again, into this folder or another."


@dataclass(frozen=True)
class Fidelity:
    """How near a precision's vectors are to SentenceTransformer's in float32, over `texts` sentences."""

    mean: float
    p1: float
    minimum: float
    neighbours: float
    texts: int
    offered: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TokenizerSettings:
    """What a model says about its tokenizer for one task, beyond its vocabulary and its rules."""

    max_tokens: int | None
    """Tokens that the model reads of one text, the special ones included; None: all."""
    truncation_side: str = "right"
    """The end of a longer text that is cut off: `left` or `right`."""
    add_special_tokens: bool = True
    split_special_tokens: bool = False
    """Whether a special token that a text spells out is read as ordinary characters."""


@dataclass(frozen=True)
class PreparedFile:
    """A file as it was prepared: its size in bytes and its SHA-256 in hexadecimal."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The contents of `manifest.json`; `tokenizer`, `fidelity` and `files` are by task, by precision and by name.

    `content` is the digest of the model that was prepared, as `content_digest` gives it.
    """

    format: int
    source: str
    revision: str | None
    content: str
    dimension: int
    matryoshka_dimensions: Sequence[int]
    tokenizer: Mapping[Task, TokenizerSettings]
    pooling: str
    normalizes: bool
    """Whether its vectors have length 1."""
    prompts: Mapping[str, str]
    fidelity: Mapping[str, Fidelity]
    tools: Mapping[str, str]
    files: Mapping[str, PreparedFile]

    @property
    def max_tokens(self) -> int:
        """Tokens that the graph reads of a text at most, under either task."""
        return max(settings.max_tokens or 0 for settings in self.tokenizer.values())

    @property
    def precisions(self) -> list[str]:
        """Those offered."""
        return [precision for precision, fidelity in self.fidelity.items() if fidelity.offered]


def is_prepared(folder: Path) -> bool:
    """Whether the folder is to be read as a prepared model; `read_manifest` says whether it is one.

    Many programs name a file manifest.json: beside the modules.json of a SentenceTransformer it means nothing here.
    """
    return (folder / MANIFEST).is_file() and not (folder / MODULES).exists()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a prepared folder whose files are all there in their sizes; `verify` reads them.

    Raises InvalidArtifact.
    """
    fields = _read(folder)
    if fields["format"] != FORMAT:
        raise InvalidArtifact(f"{folder} has format {fields['format']}, and this version reads {FORMAT}. {MEND}")
    try:
        manifest = Manifest(
            **{
                **fields,
                "tokenizer": {task: TokenizerSettings(**each) for task, each in fields["tokenizer"].items()},
                "fidelity": {name: Fidelity(**report) for name, report in fields["fidelity"].items()},
                "files": {name: PreparedFile(**file) for name, file in fields["files"].items()},
            }
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidArtifact(f"{folder / MANIFEST} is not as it was written ({error}). {MEND}") from None
    _check_sizes(folder, {name: file.size for name, file in manifest.files.items()})
    return manifest


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write the manifest into a folder that is being made."""
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2, ensure_ascii=False), encoding="utf-8")


def verify(folder: Path) -> None:
    """Raise InvalidArtifact where a file isn't the one that was prepared; reads every byte."""
    _check_digests(folder, {name: file.sha256 for name, file in read_manifest(folder).files.items()})


def prepared_files(folder: Path) -> set[str]:
    """The names of all files of a whole prepared model, of this format or an older one; reads every byte.

    Raises InvalidArtifact where the folder is none, or is not whole.
    """
    fields = _read(folder)
    if fields["format"] > FORMAT:
        raise InvalidArtifact(f"{folder} has format {fields['format']}, which is newer than this version's {FORMAT}.")
    if fields["format"] == FORMAT:
        verify(folder)
    else:
        # The oldest formats have no sizes, and a digest alone for each name.
        digests = {
            name: file["sha256"] if isinstance(file, dict) else str(file) for name, file in fields["files"].items()
        }
        _check_sizes(folder, dict.fromkeys(digests))
        _check_digests(folder, digests)
    return {*fields["files"], MANIFEST}


def describe_file(path: Path) -> PreparedFile:
    """What the manifest says of a file; reads every byte."""
    return PreparedFile(path.stat().st_size, sha256(path))


def sha256(path: Path) -> str:
    """The file's digest in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(folder: Path) -> dict[str, Any]:
    """The fields of a manifest of any format of ours. Raises InvalidArtifact."""
    path = folder / MANIFEST
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidArtifact(f"{folder} has no readable {MANIFEST}: {error}. {MEND}") from None
    kinds = {"format": int, "source": str, "fidelity": dict, "files": dict}
    if not isinstance(fields, dict) or any(not isinstance(fields.get(key), kind) for key, kind in kinds.items()):
        raise InvalidArtifact(f"{folder} is no prepared model: its {MANIFEST} is of something else.")
    return fields


def _check_sizes(folder: Path, sizes: Mapping[str, int | None]) -> None:
    """Raise InvalidArtifact unless the folder has files of these names, and of these sizes where they are known."""
    missing = [name for name in sizes if Path(name).name != name or not (folder / name).is_file()]
    if missing:
        raise InvalidArtifact(f"{folder} lacks {', '.join(missing)}. {MEND}")
    found = {name: (folder / name).stat().st_size for name in sizes}
    wrong = [
        f"{name} has {found[name]} bytes, not {size}" for name, size in sizes.items() if size not in (None, found[name])
    ]
    if wrong:
        raise InvalidArtifact(f"{folder} is not as it was prepared: {', '.join(wrong)}. {MEND}")


def _check_digests(folder: Path, digests: Mapping[str, str]) -> None:
    """Raise InvalidArtifact unless the files of these names have these contents."""
    try:
        wrong = [name for name, digest in digests.items() if sha256(folder / name) != digest]
    except OSError as error:
        raise InvalidArtifact(f"{folder} can't be read: {error.strerror}.") from None
    if wrong:
        raise InvalidArtifact(f"{folder}: {', '.join(wrong)} changed since it was prepared. {MEND}")
