"""Reads safetensors files with numpy alone, bfloat16 included, one tensor at a time from a memory map."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "U8": "u1", "I8": "i1"}
HEADER_LENGTH = 8


class Tensors(Mapping[str, np.ndarray]):
    """The tensors of a folder's `model.safetensors`, or of its shards, each read as float32 when it is asked for.

    Raises FileNotFoundError where the folder has neither. Format: https://huggingface.co/docs/safetensors.
    """

    def __init__(self, folder: Path) -> None:
        index = folder / "model.safetensors.index.json"
        shards = set(json.loads(index.read_text())["weight_map"].values()) if index.exists() else {"model.safetensors"}
        self._entries: dict[str, tuple[Path, str, tuple[int, ...], int]] = {}
        for shard in sorted(shards):
            self._read_header(folder / shard)

    def __getitem__(self, name: str) -> np.ndarray:
        path, dtype, shape, offset = self._entries[name]
        stored = np.memmap(path, DTYPES[dtype], "r", offset, shape)
        if dtype == "BF16":
            # bfloat16 is the upper half of a float32
            return (stored.astype(np.uint32) << 16).view(np.float32)
        return np.asarray(stored, dtype=np.float32)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def _read_header(self, path: Path) -> None:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(HEADER_LENGTH), "little")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        for name, entry in header.items():
            offset = HEADER_LENGTH + length + entry["data_offsets"][0]
            self._entries[name.removeprefix("model.")] = (path, entry["dtype"], tuple(entry["shape"]), offset)
