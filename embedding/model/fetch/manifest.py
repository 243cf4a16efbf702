"""What a prepared folder says about itself, and where its files are."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from embedding.model.engine import Task
from embedding.model.errors import InvalidArtifact

FORMAT = 4
EXACT = "float32"
PRECISIONS = ("int8", EXACT)
MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"
CHUNK = 1 << 22


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
class Manifest:
    """The contents of `manifest.json`; `tokenizer`, `fidelity` and `files` are by task, by precision and by name."""

    format: int
    source: str
    revision: str | None
    dimension: int
    matryoshka_dimensions: Sequence[int]
    tokenizer: Mapping[Task, TokenizerSettings]
    pooling: str
    prompts: Mapping[str, str]
    fidelity: Mapping[str, Fidelity]
    tools: Mapping[str, str]
    files: Mapping[str, str]

    @property
    def max_tokens(self) -> int:
        """Tokens that the graph reads of a text at most, under either task."""
        return max(settings.max_tokens or 0 for settings in self.tokenizer.values())

    @property
    def precisions(self) -> list[str]:
        """Those offered."""
        return [precision for precision, fidelity in self.fidelity.items() if fidelity.offered]


def is_prepared(folder: Path) -> bool:
    """Whether the folder claims to be a prepared model; `read_manifest` says whether it is one."""
    return (folder / MANIFEST).is_file()


def read_manifest(folder: Path) -> Manifest:
    """Reads the folder's manifest; raises InvalidArtifact. Checks that files exist, not their hashes: see `verify`."""
    try:
        fields: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidArtifact(f"{folder} has no readable {MANIFEST}: {error}") from error
    if fields.get("format") != FORMAT:
        raise InvalidArtifact(f"{folder} has format {fields.get('format')}, this version reads {FORMAT}")
    fidelity = {precision: Fidelity(**report) for precision, report in fields.pop("fidelity").items()}
    tokenizer = {task: TokenizerSettings(**settings) for task, settings in fields.pop("tokenizer").items()}
    manifest = Manifest(fidelity=fidelity, tokenizer=tokenizer, **fields)
    missing = [name for name in manifest.files if not (folder / name).exists()]
    if missing:
        raise InvalidArtifact(f"{folder} lacks {', '.join(missing)}")
    return manifest


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Writes the manifest and waits until it is on the disk."""
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump(asdict(manifest), file, indent=2, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())


def verify(folder: Path) -> None:
    """Raises InvalidArtifact where a file isn't the one that was prepared; reads every byte."""
    wrong = [name for name, digest in read_manifest(folder).files.items() if sha256(folder / name) != digest]
    if wrong:
        raise InvalidArtifact(f"{folder}: {', '.join(wrong)} changed since it was prepared")


def sha256(path: Path) -> str:
    """The file's digest in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
