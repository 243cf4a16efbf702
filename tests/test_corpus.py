"""A corpus in, files of vectors out: every kind of input, and each vector what `encode_document` gives."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sentence_transformers import SentenceTransformer

from embedding.corpus import CorpusError, Input, open_input
from embedding.corpus.read.columns import choose
from embedding.model.errors import NotFinite, NoTokens, TextError
from embedding.model.prompts import titled
from embedding.settings import CorpusSettings
from tests.corpora import Corpus, WordEngine, arxiv_rows, made_texts, manifest, matrix, rejects, table, write_jsonl
from tests.tiny_gemma import DIMENSION, MAX_TOKENS

TEXTS = ["a lattice", 'quoted "words", and\na second line', "Übergrößenträger 量子 🙂", *made_texts(20)]
LINES = [text.replace("\n", " ") for text in TEXTS]


def parquet(path: Path, columns: dict[str, object]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def looked_at(address: Path | str) -> Input:
    return open_input(str(address), Path("not-there"), CorpusSettings.read())


def csv_file(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows(rows)
    return path


def written(kind: str, folder: Path) -> Path:
    rows = [{"id": f"n{number}", "text": text} for number, text in enumerate(TEXTS)]
    match kind:
        case "parquet":
            return parquet(folder / "a.parquet", {"id": [row["id"] for row in rows], "text": TEXTS})
        case "csv" | "tsv":
            return csv_file(folder / f"a.{kind}", [["id", "text"], *([row["id"], row["text"]] for row in rows)])
        case "jsonl.gz":
            with gzip.open(folder / "a.jsonl.gz", "wt") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
            return folder / "a.jsonl.gz"
        case "folder":
            (folder / "in").mkdir()
            write_jsonl(folder / "in/b.jsonl", rows[5:])
            write_jsonl(folder / "in/a.jsonl", rows[:5])
            (folder / "in/notes.md").write_text("not a corpus")
            return folder / "in"
    return write_jsonl(folder / "a.jsonl", rows)


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv", "tsv", "jsonl.gz", "folder"])
def test_every_kind_of_input_gives_the_same_vectors(corpus: Corpus, kind: str, tmp_path: Path) -> None:
    source = written(kind, tmp_path)

    summary = corpus.embed(source, tmp_path / "out")

    found = table(tmp_path / "out")
    assert (summary.rows, summary.documents, summary.chunks, summary.rejects) == (len(TEXTS),) * 3 + (0,)
    assert found["id"].to_pylist() == [f"n{number}" for number in range(len(TEXTS))]
    assert found["row"].to_pylist() == list(range(len(TEXTS)))
    assert found["end"].to_pylist() == [len(text) for text in TEXTS]
    np.testing.assert_allclose(matrix(found), corpus.vectors(TEXTS), atol=1e-6)


def test_a_text_file_holds_a_text_a_line_and_its_ids_are_row_numbers(corpus: Corpus, tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_text("\ufeff" + "\r\n".join(LINES), newline="")

    corpus.embed(source, tmp_path / "out")

    found = table(tmp_path / "out")
    assert found["id"].to_pylist() == list(range(len(LINES)))
    np.testing.assert_allclose(matrix(found), corpus.vectors(LINES), atol=1e-6)


def test_the_vectors_are_those_of_the_reference(corpus: Corpus, tiny_gemma: Path, tmp_path: Path) -> None:
    corpus.embed(write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text in TEXTS]), tmp_path / "out")

    reference = SentenceTransformer(str(tiny_gemma), device="cpu").encode_document(TEXTS)
    np.testing.assert_allclose(matrix(table(tmp_path / "out")), reference, atol=1e-5)


def test_integer_ids_of_a_parquet_file_stay_integers(corpus: Corpus, tmp_path: Path) -> None:
    source = parquet(tmp_path / "a.parquet", {"arxiv_id": pa.array([7, None, 9]), "abstract": TEXTS[:3]})

    corpus.embed(source, tmp_path / "out")

    assert table(tmp_path / "out")["id"].to_pylist() == [7, None, 9]


def test_a_title_stands_in_the_prompt(corpus: Corpus, tiny_gemma: Path, tmp_path: Path) -> None:
    titles = ["On lattices", None, "  "]
    source = write_jsonl(
        tmp_path / "a.jsonl", [{"title": title, "text": text} for title, text in zip(titles, TEXTS[:3], strict=True)]
    )

    corpus.embed(source, tmp_path / "out")
    corpus.embed(source, tmp_path / "untitled", title_column="none")

    model = SentenceTransformer(str(tiny_gemma), device="cpu")
    expected = model.encode("title: On lattices | text: " + TEXTS[0], prompt="")
    found = matrix(table(tmp_path / "out"))
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    np.testing.assert_allclose(found[1:], corpus.vectors(TEXTS[1:3]), atol=1e-6)
    np.testing.assert_allclose(matrix(table(tmp_path / "untitled")), corpus.vectors(TEXTS[:3]), atol=1e-6)


def test_a_model_without_a_place_for_titles_gets_them_in_front() -> None:
    assert titled("title: none | text: ", "X") == "title: X | text: "
    assert titled("passage: ", "X") == "passage: X\n"


def kinds(*names: str) -> dict[str, frozenset[str]]:
    return dict.fromkeys(names, frozenset({"text"}))


def test_columns_are_told_by_their_names() -> None:
    types = kinds("Paper_ID", "TITLE", "Abstract", "year")

    columns = choose(types, CorpusSettings.read())

    assert (columns.text, columns.title, columns.id) == ("Abstract", "TITLE", "Paper_ID")
    assert str(columns) == "text from 'Abstract', title from 'TITLE', id from 'Paper_ID'"
    assert choose(kinds("anything"), CorpusSettings.read()).text == "anything"


@pytest.mark.parametrize(
    ("types", "options", "words"),
    [
        (["text", "abstract"], {}, ["'text', 'abstract'", "--text-column"]),
        (["one", "two"], {}, ["'one', 'two'", "--text-column"]),
        (["text"], {"text_column": "body"}, ["TEXT_COLUMN", "'body'", "'text'"]),
        (["text"], {"id_column": "key"}, ["ID_COLUMN", "'key'"]),
    ],
)
def test_columns_that_can_t_be_told_are_an_error_that_lists_them(types, options, words: list[str]) -> None:
    with pytest.raises(CorpusError) as error:
        choose(kinds(*types), CorpusSettings.read(**options))

    for word in words:
        assert word in str(error.value)


def test_rows_that_can_t_be_embedded_are_listed_and_the_rest_goes_on(corpus: Corpus, tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    lines = [
        b'{"id": 1, "text": "a lattice"}',
        b'{"id": 2, "text": "  "}',
        b'{"id": 3, "text": 7}',
        b'{"id": 4}',
        b'{"id": 5, "text": ',
        b'["x"]',
        b'{"id": 7, "text": "half \\ud800"}',
        b'{"id": 8, "text": "\xff"}',
        b"",
        b'{"id": 9, "text": "granite", "n": NaN}',
    ]
    source.write_bytes(b"\n".join(lines))

    summary = corpus.embed(source, tmp_path / "out", encoding="utf-8")

    assert [(reject["line"], reject["id"], reject["reason"]) for reject in rejects(tmp_path / "out")] == [
        (2, 2, "blank"),
        (3, 3, "not text but an integer"),
        (4, 4, "no text"),
        (5, None, "not JSON"),
        (6, None, "not a JSON object"),
        (7, 7, "the text is not valid Unicode"),
        (8, 8, "the text has a byte that is not of its encoding"),
    ]
    assert {reject["file"] for reject in rejects(tmp_path / "out")} == {"a.jsonl"}
    assert table(tmp_path / "out")["id"].to_pylist() == [1, 9]
    assert (summary.rows, summary.documents, summary.rejects) == (9, 2, 7)
    assert manifest(tmp_path / "out")["counts"] == {
        "rows": 9,
        "documents": 2,
        "chunks": 2,
        "tokens": summary.tokens,
        "rejects": 7,
        "shards": 1,
    }


def test_csv_rows_that_are_broken_are_listed(corpus: Corpus, tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_bytes(b'id,text\n1,a lattice\n2,"two\nlines"\n3\n4,a,b\n5,\xff\n')

    corpus.embed(source, tmp_path / "out", encoding="utf-8")

    assert [(reject["row"], reject["line"], reject["reason"]) for reject in rejects(tmp_path / "out")] == [
        (2, 5, "1 field, not 2"),
        (3, 6, "3 fields, not 2"),
        (4, 7, "the text has a byte that is not of its encoding"),
    ]
    assert table(tmp_path / "out")["end"].to_pylist() == [9, 9]


@pytest.mark.parametrize(("error", "reason"), [(NotFinite, "finite"), (NoTokens, "no tokens")])
def test_a_text_that_has_no_vector_is_listed(
    error: type[TextError], reason: str, corpus: Corpus, tmp_path: Path
) -> None:
    class Faulty:
        info, batch_tokens, prompts = corpus.engine.info, corpus.engine.batch_tokens, corpus.engine.prompts
        tokenize, token_starts = corpus.engine.tokenize, corpus.engine.token_starts

        def embed(self, batch):
            if guilty := [index for index, text in enumerate(batch) if "glacier glacier" in text.text]:
                raise error(guilty)
            return corpus.engine.embed(batch)

    texts = [*made_texts(30, longest=1), "glacier glacier"]
    source = write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text in texts])

    summary = Corpus(Faulty(), corpus.folder).embed(source, tmp_path / "out")

    assert (summary.documents, summary.rejects) == (30, 1)
    (reject,) = rejects(tmp_path / "out")
    assert (reject["row"], reject["id"], reject["line"]) == (30, 30, 31)
    source.write_text(f"\n{source.read_text()}")
    assert Corpus(Faulty(), corpus.folder).embed(source, tmp_path / "out").embedded == 0
    assert rejects(tmp_path / "out") == [{**reject, "line": 32}]
    assert reason in reject["reason"]
    np.testing.assert_allclose(matrix(table(tmp_path / "out")), corpus.vectors(texts[:-1]), atol=1e-6)


LONG = " ".join(made_texts(60, seed=4)) + " 🙂量" * 30 + " end"


@pytest.mark.parametrize("options", [{}, {"chunk_tokens": 60, "chunk_overlap": 0}, {"chunk_tokens": 60}])
@pytest.mark.parametrize("title", [None, "On windows"])
def test_a_long_text_is_cut_into_windows_that_overlap_and_cover_it(
    corpus: Corpus, title: str | None, options: dict[str, int], tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", [{"title": "none", "text": "short"}, {"title": title, "text": LONG}])

    corpus.embed(source, tmp_path / "out", **options)

    size = options.get("chunk_tokens", MAX_TOKENS)
    found = table(tmp_path / "out").slice(1)
    starts, ends = found["start"].to_pylist(), found["end"].to_pylist()
    assert found["chunk"].to_pylist() == list(range(len(found)))
    assert (starts[0], ends[-1]) == (0, len(LONG))
    assert all(tokens <= size for tokens in found["tokens"].to_pylist())
    assert np.mean(found["tokens"].to_pylist()[:-1]) > size - 4
    apart = np.array(starts[1:]) - np.array(ends[:-1])
    assert (apart == 0).all() if options.get("chunk_overlap") == 0 else (apart < 0).all()
    slices = [LONG[start:end] for start, end in zip(starts, ends, strict=True)]
    prompt = f"title: {title or 'none'} | text: "
    expected = corpus.engine.embed(corpus.engine.tokenize(slices, "document", prompt=prompt))
    np.testing.assert_allclose(matrix(found), expected, atol=1e-6)


def test_a_text_longer_than_a_block_is_cut_as_well(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", [{"text": LONG}])
    monkeypatch.setattr("embedding.model.windows.BLOCK", 400)

    corpus.embed(source, tmp_path / "out", chunk_tokens=60)

    found = table(tmp_path / "out")
    starts, ends = found["start"].to_pylist(), found["end"].to_pylist()
    assert (starts[0], ends[-1]) == (0, len(LONG))
    assert all(after < before for after, before in zip(starts[1:], ends, strict=False))
    assert max(found["tokens"].to_pylist()) <= 60


def test_a_title_too_long_for_the_window_leaves_half_of_it_to_the_text(corpus: Corpus, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", [{"title": LONG, "text": "granite harbour " * 40}])

    corpus.embed(source, tmp_path / "out")

    found = table(tmp_path / "out")
    assert found["end"].to_pylist()[-1] == len("granite harbour " * 40)
    assert max(found["tokens"].to_pylist()) <= MAX_TOKENS


@pytest.mark.parametrize("prompt", ["", "search_document: ", "title: none | text: "])
def test_a_title_of_any_length_leaves_room_for_the_text(corpus: Corpus, prompt: str, tmp_path: Path) -> None:
    class Prompted:
        info, batch_tokens, prompts = corpus.engine.info, corpus.engine.batch_tokens, {"document": prompt}
        token_starts, embed = corpus.engine.token_starts, corpus.engine.embed

        def tokenize(self, texts, task, prompt=prompt):
            return corpus.engine.tokenize(texts, task, prompt)

    titles = [title for words in range(1, 25) for title in ("On " * words + "x", "q" * words)]
    source = write_jsonl(tmp_path / "a.jsonl", [{"title": title, "text": "granite " * 30} for title in titles])

    summary = Corpus(Prompted(), corpus.folder).embed(source, tmp_path / "out", chunk_tokens=40)

    found = table(tmp_path / "out")
    assert summary.documents == len(titles)
    assert max(found["tokens"].to_pylist()) <= 40


@pytest.mark.parametrize(("form", "error"), [("float32", 1e-6), ("float16", 1e-3), ("int8", 4e-3)])
def test_the_numbers_come_in_three_formats(corpus: Corpus, form: str, error: float, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text in TEXTS])

    corpus.embed(source, tmp_path / "out", vector_format=form)

    found = table(tmp_path / "out")
    kinds = {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.int8()}
    assert found.schema.field("vector").type == pa.list_(kinds[form], DIMENSION)
    scales = np.array(found["scale"].to_pylist())[:, None] if form == "int8" else 1
    np.testing.assert_allclose(matrix(found) * scales, corpus.vectors(TEXTS), atol=error)
    assert manifest(tmp_path / "out")["vectors"] == {"format": form, "dimension": DIMENSION}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.docx", b"x", ["a.docx", ".parquet", ".jsonl"]),
        ("a.parquet", b"not parquet", ["a.parquet", "can't be read"]),
        ("a.json", b'[{"text": "x"}, ', ["a.json, line 1", "not ended"]),
        ("a.csv", b"", ["a.csv", "no row"]),
        ("a.jsonl.gz", b"not gzip", ["a.jsonl.gz", "can't be read"]),
    ],
)
def test_an_input_that_can_t_be_read_is_an_error(name: str, content: bytes, words: list[str], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(CorpusError) as error:
        looked_at(tmp_path / name)

    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    "address",
    [
        "ftp://bucket/a.parquet",
        "memory://a.parquet",
        "https://user:hunter2@host/a.parquet",
        "hf://user:hunter2@host/datasets/a.parquet",
        "hf://datasets/owner",
        "hf://datasets/a b/hunter2/c.parquet",
        "hf://",
    ],
)
def test_an_address_that_can_t_be_read_is_an_error_that_says_what_can(address: str) -> None:
    with pytest.raises(CorpusError, match=r"hf://datasets/OWNER/NAME/PATH|leave it out") as error:
        looked_at(address)

    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("cut", [slice(0, -20), slice(0, 30)])
def test_a_damaged_file_is_an_error_that_holds_none_of_it(corpus: Corpus, cut: slice, tmp_path: Path) -> None:
    content = gzip.compress("".join(f'{{"text": "granite {text}"}}\n' for text in made_texts(200)).encode())
    (tmp_path / "cut.jsonl.gz").write_bytes(content[cut])
    (tmp_path / "wrong.jsonl.gz").write_bytes(content[:100] + bytes(100) + content[200:])

    for name in ("cut", "wrong"):
        with pytest.raises(CorpusError, match=rf"{name}\.jsonl\.gz can't be read: it is damaged") as error:
            corpus.embed(tmp_path / f"{name}.jsonl.gz", tmp_path / name)
        assert "granite" not in str(error.value)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_a_text_of_a_parquet_file_that_is_not_unicode_is_listed(
    corpus: Corpus, kind: pa.DataType, tmp_path: Path
) -> None:
    texts = pa.Array.from_buffers(pa.string(), 3, pa.array([b"granite", b"\xff", None]).buffers()).cast(kind)
    source = parquet(tmp_path / "a.parquet", {"text": texts})

    corpus.embed(source, tmp_path / "out")

    assert [reject["reason"] for reject in rejects(tmp_path / "out")] == [
        "the text has a byte that is not of its encoding",
        "no text",
    ]
    assert table(tmp_path / "out")["row"].to_pylist() == [0]


@pytest.mark.parametrize("ids", [pa.array(["x"]), pa.array([2**63], pa.uint64()), pa.array([1.5])])
def test_where_a_second_file_has_ids_of_another_type_all_ids_are_text(
    corpus: Corpus, ids: pa.Array, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    parquet(tmp_path / "in/a.parquet", {"id": pa.array([1]), "text": ["granite"]})
    parquet(tmp_path / "in/b.parquet", {"id": ids, "text": ["granite"]})

    corpus.embed(tmp_path / "in", tmp_path / "out")

    assert table(tmp_path / "out")["id"].to_pylist() == ["1", str(ids[0].as_py())]
    assert rejects(tmp_path / "out") == []


def test_an_input_that_is_not_there_or_mixed_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\nx\n")
    (tmp_path / "b.jsonl").write_text('{"text": "x"}\n')

    with pytest.raises(CorpusError, match=r"there is no .*missing\.parquet"):
        looked_at(tmp_path / "missing.parquet")
    with pytest.raises(CorpusError, match="several kinds"):
        looked_at(tmp_path)


def test_rows_as_arxiv_has_them_come_out_whole_and_counted(tmp_path: Path) -> None:
    rows = list(arxiv_rows(2_000))
    rows[7]["abstract"], rows[9]["abstract"] = None, "  "
    rows[8] |= {"abstract": None, "title": ""}
    source = write_jsonl(tmp_path / "arxiv-metadata-oai-snapshot.json", rows)

    summary = Corpus(WordEngine(), Path("words")).embed(source, tmp_path / "out", keep="authors,versions,update_date")

    assert (summary.rows, summary.documents, summary.rejects) == (2_000, 1_999, 1)
    assert not summary.is_poor
    (reject,) = rejects(tmp_path / "out")
    assert (reject["line"], reject["reason"]) == (9, "no text")
    found = pq.read_table(tmp_path / "out/shards")
    assert found["row"].to_pylist() == [row for row in range(2_000) if row != 8]
    assert found["id"].to_pylist() == [row["id"] for row in rows if row is not rows[8]]
    assert json.loads(found["versions"][0].as_py()) == rows[0]["versions"]
