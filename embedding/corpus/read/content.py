"""One file of the input: its bytes, decompressed, and its text, in the encoding that it has."""

import bz2
import codecs
import gzip
import io
import lzma
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast
from zipfile import ZipFile

from embedding.corpus.errors import CorpusError

BUFFER = 1 << 20
COMPRESSED = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst", b"BZh": ".bz2", b"\xfd7zXZ": ".xz"}
COMPRESSIONS = tuple(COMPRESSED.values())
MAX_CHARACTERS = 16_000_000
# A character takes up to six in JSON.
MAX_LINE = 6 * MAX_CHARACTERS
TELL_EVERY = 64
SAMPLE_BYTES = 1 << 16
UTF8 = "utf-8"
POINTER = b"version https://git-lfs."
# How files begin that are no text, whatever they are called, and what to do about each.
FOREIGN = {
    b"PAR1\x15": "it is Parquet: --input-format parquet",
    b"ARROW1\0": "it is Arrow: --input-format arrow",
    b"PK\x03\x04": "it is a zip archive, to be named .zip, or an Excel workbook, to be saved as CSV",
    b"%PDF-": "it is a PDF, and its text is to be taken out first",
    b"SQLite format 3": "it is an SQLite database: export its table as CSV",
    POINTER: "it is a pointer of Git LFS in the file's place: git lfs pull fetches that",
}
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class Reading:
    """How the user says that the files are to be read; None where their names and contents tell."""

    input_format: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    quote: str | None = None
    no_header: bool = False

    def __post_init__(self) -> None:
        if self.encoding is not None:
            try:
                known = codecs.lookup(self.encoding)._is_text_encoding
            except LookupError:
                known = False
            if not known:
                raise CorpusError(
                    f"ENCODING: '{self.encoding}' is no known encoding. Known are utf-8, utf-16, cp1252 …"
                )


@dataclass(eq=False)
class File:
    """A file, or with `member` a file in a zip archive; `name` is what its user calls it."""

    system: Any
    path: str
    name: str
    size: int
    reading: Reading = field(default_factory=Reading)
    member: str = ""
    named_as: str = ""
    """A name that tells the format, where its own doesn't."""
    position: int = 0
    """How many of its bytes have been read."""
    encoding: str = ""
    """As it was found when the text was last opened; empty for a file of another kind than text."""
    foreign: bytearray = field(default_factory=bytearray, repr=False)
    """A sample of lines with a byte that is not of the encoding."""
    foreign_line: int | None = None
    beyond_ascii: bool = False
    """Whether a line beyond ASCII was well encoded."""
    _tell: Callable[[], int] | None = None

    @property
    def suffix(self) -> str:
        """What its name says of its format, without that of a compression."""
        return suffix(self._telling_name)

    @property
    def compression(self) -> str:
        last = PurePosixPath(self._telling_name.lower()).suffix
        return last if last in COMPRESSIONS else ""

    @property
    def _telling_name(self) -> str:
        return self.named_as or self.member or self.name

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Its content, decompressed."""
        with ExitStack() as stack:
            raw = stack.enter_context(self.system.open(self.path, "rb"))
            if self.member:
                raw = stack.enter_context(stack.enter_context(ZipFile(raw)).open(self.member))
            self._tell = raw.tell
            packed = stack.enter_context(io.BufferedReader(raw, BUFFER))
            content = _decompressed(packed, compression_of(packed.peek(8)) or self.compression)
            yield stack.enter_context(cast("BinaryIO", io.BufferedReader(content, BUFFER)))

    @contextmanager
    def open_seekable(self) -> Iterator[BinaryIO]:
        """Its content, in a temporary file where it can't be read in any order as it is."""
        if not (self.member or self.compression):
            with self.system.open(self.path, "rb") as raw:
                if raw.read(len(POINTER)) == POINTER:
                    self._refuse_foreign(POINTER)
                raw.seek(0)
                yield raw
            return
        with tempfile.TemporaryFile() as copy, self.open() as content:
            shutil.copyfileobj(content, copy, BUFFER)
            copy.seek(0)
            yield cast("BinaryIO", copy)

    @contextmanager
    def open_text(self, newline: str | None = "\n") -> Iterator["Text"]:
        """Its text. A byte that is not of its encoding becomes half of a surrogate pair, by which its row is told.

        Raises CorpusError where the encoding can't be told.
        """
        self.foreign.clear()
        self.foreign_line, self.beyond_ascii = None, False
        with self.open() as content:
            head = cast("io.BufferedReader", content).peek(SAMPLE_BYTES)[:SAMPLE_BYTES]
            self._refuse_foreign(head)
            self.encoding = self.reading.encoding or _by_mark(head) or _refuse_nulls(self, head) or UTF8
            codec = "utf-8-sig" if codecs.lookup(self.encoding).name == UTF8 else self.encoding
            with io.TextIOWrapper(content, codec, errors="surrogateescape", newline=newline) as text:
                yield Text(self, text)

    def _refuse_foreign(self, head: bytes) -> None:
        if said := next((words for start, words in FOREIGN.items() if head.startswith(start)), None):
            raise CorpusError(f"{self.name} is not what its name says: {said}.")

    def follow(self) -> None:
        """Take note of how much has been read of the file, which is open."""
        if self._tell is not None:
            self.position = self._tell()


class Copy:
    """A temporary file in the place of a file system."""

    def __init__(self, content: Any) -> None:
        self._file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115  # closed with its last use
        weakref.finalize(self, self._file.close)
        shutil.copyfileobj(content, self._file, BUFFER)
        self.size = self._file.tell()
        self._file.flush()

    def open(self, _path: str, _mode: str = "rb") -> BinaryIO:
        self._file.seek(0)
        return os.fdopen(os.dup(self._file.fileno()), "rb")

    def close(self) -> None:
        self._file.close()


class Text:
    """The text of an open file, read from its beginning to its end. `line` counts the line ends that were read."""

    def __init__(self, file: File, text: io.TextIOWrapper) -> None:
        self._file = file
        self._text = text
        self.line = 0

    def read(self, size: int) -> str:
        """So many characters, or fewer at the end. Raises CorpusError for bytes that can't be text."""
        return self._seen(lambda: self._text.read(size))

    def readline(self) -> str | None:
        """A line with its end; None for one that is too long, and is passed over; empty at the end of the file."""
        line = self._seen(lambda: self._text.readline(MAX_LINE))
        self.line += line.endswith("\r")
        if len(line) < MAX_LINE:
            return line
        while line and not line.endswith("\n"):
            line = self._seen(lambda: self._text.readline(MAX_LINE))
        return None

    def lines(self) -> Iterator[tuple[int, str | None]]:
        """Each line with its number, from 1."""
        number = self.line + 1
        while (line := self.readline()) != "":
            yield number, line
            number = self.line + 1

    def _seen(self, read: Callable[[], str]) -> str:
        try:
            text = read()
        except UnicodeError:
            raise CorpusError(
                f"{self._file.name}, line {self.line + 1}: a byte that is not {self._file.encoding}. "
                "Name the file's encoding with --encoding."
            ) from None
        if not text.isascii():
            self._note_encoding(text)
        self.line += text.count("\n")
        if self.line % TELL_EVERY == 0:
            self._file.follow()
        return text

    def _note_encoding(self, text: str) -> None:
        file = self._file
        if is_unicode(text):
            file.beyond_ascii = True
            return
        for number, line in enumerate(text.splitlines(keepends=True), start=self.line + 1):
            if not is_unicode(line):
                file.foreign_line = file.foreign_line or number
                if len(file.foreign) < SAMPLE_BYTES:
                    file.foreign += line.encode(UTF8, "surrogateescape")[:SAMPLE_BYTES]
            elif not line.isascii():
                file.beyond_ascii = True


def suffix(path: str) -> str:
    """What the name at the end of `path` says of its format, in lower case, without that of a compression."""
    name = PurePosixPath(path.lower())
    return PurePosixPath(name.stem).suffix if name.suffix in COMPRESSIONS else name.suffix


def is_unicode(text: str) -> bool:
    """Whether it can be written: halves of surrogate pairs can't be, of which some stand for bytes that are no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_encoding(file: File) -> None:
    """Raise CorpusError where what was read of a text is most likely of another encoding.

    Where some of it is well encoded beyond ASCII the rest is damaged: such rows are rejected one by one.
    """
    if file.foreign_line is None or file.beyond_ascii or file.reading.encoding:
        return
    from charset_normalizer import from_bytes

    best = from_bytes(bytes(file.foreign), cp_exclusion=["utf_8"]).best()
    # Western Europe's encodings differ little, and a short sample fits many others as well.
    western = all(byte < 0x80 or byte >= 0xC0 or byte in b"\x85\x91\x92\x93\x94\x96\x97\xa0" for byte in file.foreign)
    guess = "cp1252" if western or best is None else best.encoding.replace("_", "-")
    raise CorpusError(
        f"{file.name}, line {file.foreign_line}: a byte that is not UTF-8. If the file is in another encoding, name "
        f"it: --encoding {guess}, perhaps. If only such rows are damaged, reject those: --encoding utf-8."
    )


def _by_mark(head: bytes) -> str:
    return next((name for mark, name in MARKS if head.startswith(mark)), "")


def _refuse_nulls(file: File, head: bytes) -> str:
    """Text has no NUL; one byte in two of UTF-16, and three in four of UTF-32, are where the text is mostly ASCII."""
    if head.count(0) * 10 < len(head) or not head:
        return ""
    names = {True: "utf-16-le", False: "utf-16-be"}
    guess = names[head[1::2].count(0) > head[::2].count(0)] if head.count(0) * 3 < len(head) * 2 else "utf-32"
    raise CorpusError(f"{file.name}, line 1: bytes that are not UTF-8 text. It looks like {guess}: --encoding {guess}.")


def compression_of(head: bytes) -> str:
    """The ending that a file which begins so is to have; names may lack it."""
    return next((ending for start, ending in COMPRESSED.items() if head.startswith(start)), "")


def _decompressed(raw: Any, compression: str) -> Any:
    match compression:
        case ".gz":
            return gzip.open(raw)
        case ".bz2":
            return bz2.open(raw)
        case ".xz":
            return lzma.open(raw)
        case ".zst":
            import pyarrow as pa

            return pa.CompressedInputStream(raw, "zstd")  # which reads frames one after the other, and tells a cut one
    return raw
