"""What a model's name led to: one object for all that loads the model or says what it is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from embedding.model.fetch.manifest import Manifest, read_manifest


@dataclass(frozen=True)
class ResolvedModel:
    """A model on this machine. Its user gave `name` and `revision`; it has a `manifest` if it is prepared."""

    name: str
    revision: str
    folder: Path
    manifest: Manifest | None = None
    inode: int = 0
    """The folder's, from before the manifest was read. A folder that takes its place has another."""

    @classmethod
    def prepared(cls, name: str, revision: str, folder: Path) -> Self:
        """The prepared model in `folder`. Raises InvalidArtifact."""
        inode = _inode(folder)
        return cls(name, revision, folder, read_manifest(folder), inode)

    @property
    def was_replaced(self) -> bool:
        """Whether another folder is in the place of this one now."""
        return self.manifest is not None and _inode(self.folder) != self.inode

    def read_again(self) -> Self:
        """The model in that place now. Raises InvalidArtifact."""
        return self.prepared(self.name, self.revision, self.folder)


def _inode(folder: Path) -> int:
    try:
        return folder.stat().st_ino
    except OSError:
        return 0
