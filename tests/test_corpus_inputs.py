"""A table of files as people have them: each gives the right vector for every row, or one line that says what to do."""

import base64
import bz2
import gzip
import io
import json
import lzma
import os
import sys
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

from embedding.corpus import CorpusError, Input, open_input
from embedding.corpus.read.rows import Document, Reject
from embedding.corpus.words import describe_input
from embedding.settings import CorpusSettings
from tests.corpora import Corpus, manifest, matrix, table

Content = Callable[[Path], Any] | str | bytes | pa.Table
TEXTS = ["granite harbour", "melody, quartz", "café crème"]
CSV = "id,text\n" + "".join(f'{number},"{text}"\n' for number, text in enumerate(TEXTS))
JSONL = "".join(json.dumps({"id": number, "text": text}) + "\n" for number, text in enumerate(TEXTS))
TABLE = pa.table({"id": [0, 1, 2], "text": TEXTS})


@dataclass(frozen=True)
class Case:
    """A file, and what it gives: the rows' texts (of two parts: title and text) and ids, or the words of an error."""

    name: str
    content: Content
    texts: list[str] | None = None
    ids: list[Any] | None = None
    error: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    address: str = ""
    """What is embedded, where it isn't the file."""

    def __str__(self) -> str:
        return f"{self.name} {self.error or ''}{self.options or ''}"


def write(folder: Path, name: str, content: Content) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    match content:
        case str():
            path.write_text(content)
        case bytes():
            path.write_bytes(content)
        case pa.Table():
            pq.write_table(content, path)
        case _:
            content(path)


def quote_if(there: bool) -> str:
    return '"' if there else ""


def parquet_bytes(table: pa.Table) -> bytes:
    pq.write_table(table, buffer := io.BytesIO())
    return buffer.getvalue()


def zipped(**files: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)

    return make


def arrow(path: Path) -> None:
    new = pa.ipc.new_stream if "stream" in path.name else pa.ipc.new_file
    with pa.OSFile(str(path), "w") as file, new(file, TABLE.schema) as writer:
        writer.write_table(TABLE)


def linked(path: Path) -> None:
    """A folder as the hub's cache has it: all of its files are links."""
    (path.parent / "blobs").mkdir()
    (path.parent / "blobs/0a").write_text(JSONL)
    (path.parent / "snapshot").mkdir()
    (path.parent / "snapshot/a.jsonl").symlink_to("../blobs/0a")
    path.symlink_to("snapshot")


def parts(**files: Content) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        for name, content in files.items():
            write(path, name, content)

    return make


def with_an_output_in_it(path: Path) -> None:
    parts(**{"a.jsonl": JSONL, "out/job.json": "{}", "out/shards/000000-0123456789abcdef.parquet": TABLE})(path)


def times(unit: str, values: list[int | None], kind: Callable[[str], pa.DataType] = pa.timestamp) -> pa.Table:
    return pa.table({"id": pa.array(values, kind(unit)), "text": TEXTS[: len(values)]})


def encrypted(path: Path) -> None:
    class Kms(pe.KmsClient):  # type: ignore[misc]
        def wrap_key(self, key_bytes: bytes, _name: str) -> bytes:
            return base64.b64encode(key_bytes)

        def unwrap_key(self, wrapped_key: bytes, _name: str) -> bytes:
            return base64.b64decode(wrapped_key)

    kms, asked = pe.KmsConnectionConfig(), pe.EncryptionConfiguration(footer_key="k", column_keys={"k": ["text"]})
    keys = pe.CryptoFactory(lambda _: Kms()).file_encryption_properties(kms, asked)
    pq.write_table(TABLE, path, encryption_properties=keys)


def zst(content: bytes) -> bytes:
    return bytes(pa.compress(content, "zstd", asbytes=True))


PLAIN = [
    Case("a.parquet", TABLE, TEXTS, [0, 1, 2]),
    Case("a.jsonl", JSONL, TEXTS, [0, 1, 2]),
    Case("a.json", JSONL, TEXTS, [0, 1, 2]),
    Case("array.json", json.dumps([json.loads(line) for line in JSONL.splitlines()], indent=1), TEXTS, [0, 1, 2]),
    Case("a.csv", CSV, TEXTS, ["0", "1", "2"]),
    Case("a.tsv", "id\ttext\n0\tgranite\n1\tmelody\n", ["granite", "melody"], ["0", "1"]),
    Case("a.txt", "\n".join(TEXTS), TEXTS, [0, 1, 2]),
    Case("a.md", "# granite\n\nharbour", ["# granite\n\nharbour"], ["a.md"]),
    Case("a.arrow", arrow, TEXTS, [0, 1, 2]),
    Case("stream.arrow", arrow, TEXTS, [0, 1, 2]),
    Case("a.lance", lambda path: lance.write_dataset(TABLE, path), TEXTS, [0, 1, 2]),
    *(
        Case(f"a.{kind}.{name}", pack(content), TEXTS)
        for name, pack in {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zst}.items()
        for kind, content in {"jsonl": JSONL.encode(), "csv": CSV.encode(), "parquet": parquet_bytes(TABLE)}.items()
    ),
    Case("two-frames.jsonl.zst", zst(JSONL[:40].encode()) + zst(JSONL[40:].encode()), TEXTS),
    Case("kaggle.zip", zipped(**{"in/a.csv": CSV, "__MACOSX/._a.csv": "x", "in/README.md": "x"}), TEXTS),
    Case("some.zip", zipped(**{"a.csv": "text\nx\n", "b.csv": CSV}), TEXTS, address="some.zip/b.csv"),
    Case("folder", parts(**{"b.txt.gz": gzip.compress(b"b"), "a.txt": "a1\na2"}), ["a1", "a2", "b"], [0, 1, 2]),
    Case("by-address.jsonl", JSONL, TEXTS, address="file://{folder}/by-address.jsonl"),
]
LATIN = "id,text\n1,café crème\n".encode("cp1252")
SURPRISING = [
    Case(
        "swallowed.csv",
        "id,title,text\n" + "".join(f"{n},t,{quote_if(n % 400 == 5)}text {n}\n" for n in range(2000)),
        error="swallowed.csv, line 7: a quote .* --quote none",
    ),
    Case(
        "pair.csv",
        "text,label\n" + "".join(f"{quote_if(n == 3)}some words {n}{quote_if(n == 7)},pos\n" for n in range(9)),
        error="pair.csv, line 5: a quote that opens here closes in line 9.* --quote none.* --quote double",
    ),
    Case("quoteless.csv", 'id,text\n1,"a b\n2,c"d\n', ['"a b', 'c"d'], ["1", "2"], options={"quote": "none"}),
    Case("unclosed.csv", 'id,text\n1,a\n2,"b\n3,c\n', error="unclosed.csv, line 3: a quote"),
    Case(
        "lines.csv", 'id,text\n1,"two\nlines, and\na third"\n2,"a ""word"""\n', ["two\nlines, and\na third", 'a "word"']
    ),
    Case("quotes.tsv", 'id\ttext\n1\t"open\n2\tsays "x"\n3\t"whole"\n', ['"open', 'says "x"', '"whole"']),
    Case("link", linked, TEXTS, [0, 1, 2]),
    Case("link", linked, TEXTS, address="snapshot/*.jsonl"),
    Case("utf16.csv", "id,text\n1,café\n".encode("utf-16"), ["café"]),
    Case("nulls.csv", "id,text\n1,cafe\n".encode("utf-16-le"), error="nulls.csv, line 1: .* --encoding utf-16-le"),
    Case("latin.csv", LATIN, error="latin.csv, line 2: a byte that is not UTF-8.* --encoding cp1252"),
    Case("latin.csv", LATIN, ["café crème"], options={"encoding": "latin-1"}),
    Case("latin.jsonl", b'{"text": "caf\xe9"}', error="latin.jsonl, line 1: .* --encoding cp1252"),
    Case(
        "japanese.txt", "量子コンピュータの研究".encode("shift-jis"), error="japanese.txt, line 1: .* --encoding cp932"
    ),
    Case("output-in-it", with_an_output_in_it, TEXTS, [0, 1, 2]),
    Case("none.jsonl", "", error="no row in none.jsonl"),
    Case("header.csv", "id,text\n", error="no row in header.csv"),
    Case("none.parquet", TABLE.slice(0, 0), error="no row in none.parquet"),
    Case("titles.jsonl", '{"text": "a", "title": 5}\n', ["title: 5 | text: a"], options={"title_column": "title"}),
    Case(
        "ids",
        parts(**{"a.parquet": TABLE.slice(0, 1), "b.parquet": pa.table({"id": ["x"], "text": ["b"]})}),
        [TEXTS[0], "b"],
        ["0", "x"],
    ),
    Case("oid.jsonl", '{"_id": {"$oid": "5f"}, "text": "a"}\n', ["a"], ["5f"]),
    Case("float.jsonl", '{"id": 1.0, "text": "a"}\n{"id": NaN, "text": "b"}\n', ["a", "b"], [1, None]),
    Case("bytes.parquet", pa.table({"id": [b"ab\xff"], "text": ["a"]}), ["a"], ["6162ff"]),
    Case("big.jsonl", f'{{"id": {2**64}, "text": "a"}}\n{{"id": 1, "text": "b"}}', ["a", "b"], [str(2**64), "1"]),
    Case("object.jsonl", '{"id": {"a": 1}, "text": "a"}', ["a"], [0], options={"id_column": "none"}),
    Case(
        "object.jsonl",
        '{"id": {"a": 1}, "text": "a"}',
        error="'id' .*object.*--id-column none",
        options={"id_column": "id"},
    ),
    Case(
        "titleless",
        parts(**{"a.csv": "id,title,text\n1,T,a\n", "b.csv": "id,text\n2,b\n", "c.csv": ""}),
        ["title: T | text: a", "b"],
        ["1", "2"],
    ),
    Case(
        "textless",
        parts(**{"a.csv": "id,text\n1,a\n", "b.csv": "id,words\n2,b\n"}),
        error="b.csv has no column 'text'.* --text-column",
    ),
    Case(
        "ns.parquet", times("ns", [1, 2]), TEXTS[:2], ["1970-01-01 00:00:00.000000001", "1970-01-01 00:00:00.000000002"]
    ),
    Case("far.parquet", times("s", [2**40, None]), TEXTS[:2]),
    Case("durations.parquet", times("us", [5, None], pa.duration), TEXTS[:2]),
    Case(os.fsdecode(b"n\xff.jsonl"), JSONL, TEXTS, [0, 1, 2]),
    Case("surrogate.jsonl", '{"text": "a", "k\\ud800": 1}\n', ["a"]),
    Case("  ", JSONL, error="INPUT is empty.*'.'", address="  "),
    Case("one.tsv", "some words\nothers\n", error="'some words', the name .* or a text.* --no-header"),
    Case("one.tsv", "some words\nothers\n", ["some words", "others"], [0, 1], options={"no_header": True}),
    Case("headers.csv", '"a; b","c; d",text\n1,2,x\n', ["x"]),
    Case("either.csv", "a;b,c\n1;2,3\n", error="either.csv: the delimiter may be ',' or ';'.* --delimiter"),
    Case("semicolons.csv", "id;text\n1;a, b\n2;c\n", ["a, b", "c"]),
    Case("bars.txt", "id|text\n1|a\n", ["a"], ["1"], options={"input_format": "csv", "delimiter": "|"}),
    Case("paragraphs.jsonl", '{"text": ["one", "", "two"]}', ["one\n\ntwo"]),
    Case("lists.parquet", pa.table({"text": [["one", "two"]]}), ["one\n\ntwo"]),
    Case("nested.jsonl", '{"text": {"body": "a"}}', error="'text' holds object.* --text-column text.body"),
    Case(
        "nested.jsonl",
        '{"text": {"body": "a"}, "meta": {"title": "T"}}',
        ["title: T | text: a"],
        options={"text_column": "text.body", "title_column": "meta.title"},
    ),
    Case("nested.parquet", pa.table({"meta": [{"body": "a"}]}), ["a"], options={"text_column": "meta.body"}),
    Case("blank.csv", "\n\nid,text\n1,a\n", ["a"], ["1"]),
    Case("excel.csv", "sep=;\r\nid;text\r\n1;a\r\n", ["a"], ["1"]),
    Case("quoted.csv", '"sep=;"\r\nid;text\r\n1;a, b\r\n', ["a, b"], ["1"]),
    Case("tabs.csv", "sep=\t\r\nid\ttext\r\n1\ta, b\r\n".encode("utf-16"), ["a, b"], ["1"]),
    Case("null.csv", "id,text\n1,a\n\\N,b\n", ["a", "b"], ["1", None]),
    Case("nulls.tsv", "title\ttext\nT\t\\N\n\\N\tb\n", ["T", "b"]),
    Case("mac.txt", "a\rb\rc", ["a", "b", "c"], [0, 1, 2]),
    Case("blank.txt", "\na\n \n\nb\n\n", ["a", "b"], [1, 4]),
    Case("pretty.json", '{\n "text": "a"\n}\n{\r\n "text": "b"\n}\n', ["a", "b"]),
    Case(
        "wrapped.json",
        '{\n"data": [\n{"text": "a"},\n{"text": "b"}\n]}',
        error="'data' holds list.* jq -c '.data\\[\\]'",
    ),
    Case("comma.json", '[{"text": "a"},\n]', error="comma.json, line 2: not JSON"),
    Case("uncut.json", '{\n"text": "a"', error="uncut.json, line 2: the object is not ended"),
    Case("int.json", '{"_id": {"$numberInt": "7"}, "text": "a"}', ["a"], [7]),
    Case("packed.jsonl", gzip.compress(JSONL.encode()), TEXTS),
    Case("unpacked.jsonl.gz", JSONL, error="unpacked.jsonl.gz can't be read: .* not what its name says"),
    Case("table.csv", parquet_bytes(TABLE), error="table.csv is .* Parquet: --input-format parquet"),
    Case("table.csv", parquet_bytes(TABLE), TEXTS, options={"input_format": "parquet"}),
    Case("pointer.parquet", "version https://git-lfs.github.com/spec/v1\noid x\n", error="pointer.parquet .*git lfs"),
    Case("secret.parquet", encrypted, error="secret.parquet is encrypted"),
    Case("loop", parts(**{"a.txt": "a", "b.txt": lambda path: path.symlink_to("b.txt")}), ["a"]),
    Case("bare", parts(**{"part-00000": JSONL}), error="part-00000.* --input-format"),
    Case(
        "long.csv", lambda path: path.write_text("text,n\na,1\n" + "b" * 96_000_001), error="long.csv, line 3: longer"
    ),
    Case("cut.json", '[{"text": "a"},\n{"text": ', error="cut.json, line 2: the array is not ended"),
    Case("cut.jsonl.gz", gzip.compress(JSONL.encode())[:-12], error="cut.jsonl.gz can't be read: it is damaged"),
    Case("title.jsonl", '{"title": "T"}\n{"title": "U", "text": " "}', ["T", "U"], [0, 1]),
    Case("limit.jsonl", JSONL, TEXTS[:2], [0, 1], options={"limit": 2}),
    Case("mixed", parts(**{"a.jsonl": JSONL, "README.md": "x", "dataset_info.json": "{}"}), TEXTS),
]


def looked_at(case: Case, folder: Path) -> Input:
    write(folder, case.name, case.content)
    address = case.address.format(folder=folder) or case.name
    address = address if "://" in address or not address.strip() else str(folder / address)
    return open_input(address, folder / "vectors", CorpusSettings.read(**case.options))


@pytest.mark.parametrize("case", [case for case in PLAIN + SURPRISING if case.texts is not None], ids=str)
def test_each_file_gives_the_right_vector_for_every_row(corpus: Corpus, case: Case, tmp_path: Path) -> None:
    assert case.texts is not None
    described = describe_input(looked_at(case, tmp_path))
    address = case.address.format(folder=tmp_path) or case.name

    summary = corpus.embed(address if "://" in address else tmp_path / address, tmp_path / "vectors", **case.options)

    found = table(tmp_path / "vectors")
    assert (summary.rows, summary.documents, summary.rejects) == (len(case.texts),) * 2 + (0,)
    assert f"{len(case.texts)} rows" in described
    if case.ids is not None:
        assert found["id"].to_pylist() == case.ids
    prompts = [text if text.startswith("title: ") else f"title: none | text: {text}" for text in case.texts]
    expected = corpus.engine.embed(corpus.engine.tokenize(prompts, "document", prompt=""))
    np.testing.assert_allclose(matrix(found), expected, atol=1e-6)


@pytest.mark.parametrize("case", [case for case in SURPRISING if case.error], ids=str)
def test_each_file_that_is_in_doubt_is_named_with_the_flag_that_settles_it(case: Case, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=case.error) as error:
        looked_at(case, tmp_path)

    assert "\n" not in str(error.value)
    assert not (tmp_path / "vectors").exists()


def test_where_all_rows_are_rejected_each_says_why(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "id,text\nx,a,\ny,b,\n")

    found = open_input(str(tmp_path / "a.csv"), tmp_path / "out", CorpusSettings.read())

    assert [
        (row.id, row.reason, row.line) for _, row in found.rows(found.survey.columns) if isinstance(row, Reject)
    ] == [
        ("x", "3 fields, not 2", 2),
        ("y", "3 fields, not 2", 3),
    ]


def test_mongodb_s_values_are_kept_as_what_they_are(corpus: Corpus, tmp_path: Path) -> None:
    row = '{"text": "a", "n": {"$numberLong": "5"}, "on": {"$date": "2020-01-01T00:00:00Z"}, "of": {"$oid": "5f"}}'
    write(tmp_path, "a.json", row)

    corpus.embed(tmp_path / "a.json", tmp_path / "out", keep="n,on,of")

    kept = table(tmp_path / "out").select(["n", "on", "of"]).to_pylist()
    assert kept == [{"n": 5, "on": "2020-01-01T00:00:00Z", "of": "5f"}]


def test_blank_lines_of_a_text_are_said_and_are_no_rows(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", "a\n\nb\n\n\nc\n")

    found = open_input(str(tmp_path / "a.txt"), tmp_path / "out", CorpusSettings.read())

    assert (found.survey.rows, found.survey.rejects, found.survey.blank_lines) == (3, 0, 3)
    assert "3 blank lines are no rows" in describe_input(found)


def test_several_files_are_read_in_their_order_and_counted_one_by_one(corpus: Corpus, tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "id,text\n1,a\n2,\n")
    write(tmp_path, "b.csv", "id,text\n1,b\n,c\n3,d,e\n")

    summary = corpus.embed([str(tmp_path / "b.csv"), str(tmp_path / "a.csv")], tmp_path / "out")

    assert table(tmp_path / "out")["id"].to_pylist() == ["1", None, "1"]
    assert [tuple(file.values()) for file in manifest(tmp_path / "out")["files"]] == [
        ("b.csv", 3, 2, 1),
        ("a.csv", 2, 1, 1),
    ]
    assert (summary.missing_ids, summary.duplicate_ids, summary.is_poor) == (1, 1, True)


def test_kept_columns_are_in_the_output_with_their_types(corpus: Corpus, tmp_path: Path) -> None:
    columns = {
        "text": ["a", "b"],
        "day": pa.array([1, None], pa.date32()),
        "seen": pa.array([1, 2], pa.timestamp("us", "UTC")),
        "tags": [["x"], ["y", "z"]],
        "meta": [{"n": 1}, {"n": 2}],
        "fine": [True, False],
    }
    write(tmp_path, "a.parquet", pa.table(columns))
    write(tmp_path, "a.csv", "text,n,share,code\na,1,0.5,007\nb,,2,\n")

    corpus.embed(tmp_path / "a.parquet", tmp_path / "p", keep="day,seen,tags,meta.n,fine")
    corpus.embed(tmp_path / "a.csv", tmp_path / "c", keep="n, share, code")

    for name in ("day", "seen", "tags", "fine"):
        assert table(tmp_path / "p")[name].to_pylist() == pa.table(columns)[name].to_pylist()
    assert table(tmp_path / "p").schema.field("seen").type == pa.timestamp("us", "UTC")
    assert table(tmp_path / "p")["meta.n"].to_pylist() == [1, 2]
    kept = table(tmp_path / "c").select(["n", "share", "code"]).to_pylist()
    assert kept == [{"n": 1, "share": 0.5, "code": "007"}, {"n": None, "share": 2.0, "code": ""}]


def test_standard_input_is_read_in_any_format_that_tells_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for content in (JSONL.encode(), gzip.compress(JSONL.encode()), parquet_bytes(TABLE)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        found = open_input("-", tmp_path / "out", CorpusSettings.read())
        rows = [row for _, row in found.rows(found.survey.columns)]
        assert [row.text for row in rows if isinstance(row, Document)] == TEXTS
        found.source.files[0].system.close()

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CSV.encode())))
    with pytest.raises(CorpusError, match=r"format of standard input .* --input-format"):
        open_input("-", tmp_path / "out", CorpusSettings.read())


def test_a_pipe_with_a_name_is_read_as_a_shell_gives_it_for_a_command(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "63")
    command = threading.Thread(target=(tmp_path / "63").write_text, args=(JSONL,))
    command.start()

    found = open_input(str(tmp_path / "63"), tmp_path / "out", CorpusSettings.read())

    command.join()
    assert [row.text for _, row in found.rows(found.survey.columns) if isinstance(row, Document)] == TEXTS


def test_a_server_that_gives_files_from_their_beginnings_only_gives_archives_and_tables(tmp_path: Path) -> None:
    write(tmp_path, "a.zip", zipped(**{"in/a.csv": CSV}))
    write(tmp_path, "a.parquet", TABLE)
    handler = partial(Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in ("a.zip", "a.parquet"):
            address = f"http://127.0.0.1:{server.server_port}/{name}"
            found = open_input(address, tmp_path / "out", CorpusSettings.read())
            assert [row.text for _, row in found.rows(found.survey.columns) if isinstance(row, Document)] == TEXTS
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    """Knows no ranges."""

    def log_message(self, *_: object) -> None:
        pass


def test_what_was_found_is_said_in_a_few_lines(tmp_path: Path) -> None:
    write(tmp_path, "in/a.csv", "id,text,n\n1,a,1\n2,b,2\n3,c\n")
    write(tmp_path, "in/notes.docx", "x")

    found = open_input(str(tmp_path / "in"), tmp_path / "out", CorpusSettings.read(keep="n"))

    assert describe_input(found).splitlines() == [
        "in: 1 CSV file(s), text from 'text', no title, id from 'id'",
        "  3 rows, 2 characters of text, utf-8, delimiter ',', quotes",
        "  columns: id (untyped text), text (untyped text), n (untyped text)",
        "  kept: n (int64)",
        "  1 of 3 rows can't be embedded; the first: a.csv, line 4: 2 fields, not 3",
        "  not read: notes.docx",
    ]
