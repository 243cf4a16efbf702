"""`python -m embedding embed` as its user meets it: what it says, what other programs read, and how it can end."""

import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import httpx
import lancedb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from embedding.corpus import SHARDS, CorpusError, Progress, ShardReport
from embedding.corpus.words import open_and_describe
from embedding.corpus.worker import Done
from embedding.corpus.write.destination import check_destination
from embedding.corpus.write.lance_table import write_table
from embedding.settings import CorpusSettings
from tests.cli import ROOT, command, peak_memory, run, running
from tests.corpora import Corpus, contents, made_texts, manifest, matrix, table, write_jsonl
from tests.live import TOKEN

PAGE = (ROOT / "docs/corpus.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def papers(prepared_demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's command was run, as printed, with the demo model."""
    folder = tmp_path_factory.mktemp("papers")
    texts = made_texts(40)
    columns = {"arxiv_id": pa.array(range(100, 140)), "title": made_texts(40, seed=1), "abstract": texts}
    pq.write_table(pa.table(columns), folder / "papers.parquet")
    (_, *arguments) = blocks("sh")[0].split(" -m embedding ")[1].split()
    assert arguments == ["papers.parquet", "--output", "vectors"]
    done = run("embed", str(folder / arguments[0]), *arguments[1:-1], str(folder / arguments[-1]), DEMO="1")
    assert done.returncode == 0, done.stderr
    (folder / "said").write_text(done.stdout)
    return folder


def test_it_says_what_it_reads_and_what_came_out(papers: Path) -> None:
    said = (papers / "said").read_text()

    assert "text from 'abstract', title from 'title', id from 'arxiv_id'" in said
    assert re.search(r"40 texts embedded in .* s \(.* texts/s, .* tokens/s\)", said)
    assert "40 vectors of 40 documents" in said
    assert str(papers / "vectors/shards") in said
    assert "vectors by onnx on cpu, float32" in said


@pytest.mark.parametrize("library", ["pandas", "duckdb", "lancedb"])
def test_the_page_s_way_to_read_them_runs(papers: Path, library: str, demo: httpx.Client) -> None:
    (example,) = [block for block in blocks("python") if f"import {library}" in block]

    server = {"EMBEDDING_URL": str(demo.base_url).rstrip("/"), "auth_token": TOKEN}
    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=papers,
        env={**os.environ, **server},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("form", ["float32", "float16", "int8"])
def test_pandas_duckdb_lancedb_and_pyarrow_read_the_same_numbers(corpus: Corpus, form: str, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text in made_texts(50)])
    corpus.embed(source, tmp_path / "out", vector_format=form, shard_chars=1000)
    shards = tmp_path / "out" / SHARDS
    expected = matrix(table(tmp_path / "out")).astype(np.float32)

    by_pandas = pd.read_parquet(shards).sort_values("row")["vector"].tolist()
    by_duckdb = duckdb.sql(f"SELECT vector FROM '{shards}/*.parquet' ORDER BY row").fetchall()
    lance = lancedb.connect(tmp_path / "lance").create_table("texts", pyarrow.dataset.dataset(shards))
    by_lancedb = lance.to_arrow().sort_by("row")["vector"].to_pylist()

    for found in (by_pandas, [vector for (vector,) in by_duckdb], by_lancedb):
        np.testing.assert_array_equal(np.array(found, np.float32), expected)


def test_a_lancedb_table_is_ready_to_search_and_holds_int8_vectors_as_they_are_meant(
    corpus: Corpus, tmp_path: Path
) -> None:
    texts = made_texts(300, longest=4)
    source = write_jsonl(tmp_path / "a.jsonl", [{"id": text, "text": text, "n": 7} for text in texts])
    corpus.embed(source, tmp_path / "out", vector_format="int8", shard_chars=5000, keep="n")
    (query,) = corpus.vectors(texts[200:201])

    said = [write_table(tmp_path / "out", tmp_path / "out/lancedb", index=index) for index in (False, True, True)]

    table = lancedb.connect(tmp_path / "out/lancedb").open_table("vectors")
    (nearest,) = table.search(query).limit(1).to_list()
    assert (nearest["id"], nearest["n"], table.count_rows()) == (texts[200], 7, 300)
    np.testing.assert_allclose(nearest["vector"], query, atol=0.01)
    assert ["without an index" in words for words in said] == [True, False, False]
    assert table.version == 2  # a table of the same files is not made again, nor its index


def test_what_is_to_go_nowhere_is_refused_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedding.corpus.write.destination.is_installed", lambda: False)
    for options, words in (
        ({"to": "lance"}, "pip install lancedb"),
        ({"to": "hf://models/me/x"}, "lance or hf://datasets/OWNER/NAME"),
        ({"to": "hf://datasets/me/x"}, "needs HF_TOKEN"),
        ({"index": True}, "--to lance"),
    ):
        with pytest.raises(CorpusError, match=words):
            check_destination(CorpusSettings.read(**options), None)


def test_too_many_rejects_are_an_exit_status_of_their_own(prepared_gemma: Path, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", [{"text": "granite"}] * 50 + [{"text": ""}])
    arguments = ["--output", str(tmp_path / "out"), "--model", str(prepared_gemma)]

    done = run("embed", str(source), *arguments)
    allowed = run("embed", str(source), *arguments, "--allow-rejects")
    none = run(
        "embed", str(write_jsonl(tmp_path / "b.jsonl", [{"text": ""}])), *arguments[2:], "--output", f"{tmp_path}/b"
    )

    assert [each.returncode for each in (done, allowed, none)] == [3, 0, 3]
    assert "1 of 51 rows can't be embedded; the first: a.jsonl, line 51: blank" in done.stdout
    assert "rows read: 51 = 50 documents + 1 rejects" in done.stdout
    assert "only 50 of 51 rows could be embedded" in done.stderr
    assert "--allow-rejects" in none.stderr
    assert "read_parquet" not in none.stdout
    assert "complete already" not in none.stdout


def test_a_dry_run_says_how_long_it_takes_and_writes_nothing(prepared_gemma: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_jsonl(tmp_path / f"{name}.jsonl", [{"text": text} for text in made_texts(40)])
    both = [str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]  # as a shell makes of an unquoted pattern

    arguments = ["--output", str(tmp_path / "out"), "--model", str(prepared_gemma), "--dry-run"]
    done = run("embed", *both, *arguments, ENCODING="utf-8", LIMIT="80")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("from environment variables: ENCODING=utf-8, LIMIT=80\n")
    assert "2 JSONL file(s)" in done.stdout
    assert "80 rows" in done.stdout
    assert re.search(r"about [\d,.]+ texts/s, [\d,]+ tokens/s: it takes about \d+ seconds", done.stdout)
    assert not (tmp_path / "out").exists()


def test_what_comes_in_by_a_pipe_is_embedded_though_nobody_reads_what_is_said(
    prepared_gemma: Path, tmp_path: Path
) -> None:
    rows = "".join(json.dumps({"text": text}) + "\n" for text in made_texts(40))
    arguments = command("embed", "-", "--output", str(tmp_path / "out"), "--model", str(prepared_gemma))
    reading, writing = os.pipe()
    os.close(reading)

    done = subprocess.run(arguments, cwd=ROOT, input=rows.encode(), stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)

    assert (done.returncode, done.stderr) == (0, b"")
    assert manifest(tmp_path / "out")["counts"]["documents"] == 40


def test_a_second_run_says_that_all_is_done(papers: Path) -> None:
    before = contents(papers / "vectors")

    done = run("embed", str(papers / "papers.parquet"), "--output", str(papers / "vectors"), "--demo")

    assert done.returncode == 0
    assert "complete already" in done.stdout
    assert contents(papers / "vectors") == before


def test_a_run_goes_on_in_the_precision_it_began_in(prepared_demo: Path, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text in made_texts(5)])
    arguments = ["embed", str(source), "--output", str(tmp_path / "out"), "--model", str(prepared_demo)]
    run(*arguments, "--precision", "int8")
    (tmp_path / "out/manifest.json").unlink()

    again, other = run(*arguments), run(*arguments, "--precision", "float32")

    assert again.returncode == 0, again.stderr
    assert manifest(tmp_path / "out")["model"]["precision"] == "int8"
    assert other.returncode == 1
    assert "precision 'int8', not 'float32'" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.jsonl", "--output", "out"], ["missing.jsonl"]),
        (["a.jsonl", "--output", "out", "--text-column", "body"], ["TEXT_COLUMN", "'body'", "'text'"]),
        (["a.jsonl", "--output", "out", "--chunk-tokens", "5"], ["CHUNK_TOKENS"]),
        (["a.jsonl", "--output", "out", "--chunk-tokens", "many"], ["CHUNK_TOKENS", "integer"]),
        (["a.jsonl", "--output", "a.jsonl/out"], ["a.jsonl/out", "can't be written"]),
    ],
)
def test_a_mistake_ends_it_with_one_line(
    arguments: list[str], words: list[str], prepared_demo: Path, tmp_path: Path
) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"text": "granite"}])
    (source, flag, output, *rest) = arguments

    done = run("embed", str(tmp_path / source), flag, str(tmp_path / output), *rest, "--model", str(prepared_demo))

    assert done.returncode == 1
    (message,) = done.stderr.strip().splitlines()
    for word in words:
        assert word in message


def test_where_pyarrow_is_not_installed_it_says_what_to_install(tmp_path: Path) -> None:
    arguments = ["embed", str(tmp_path / "a.jsonl"), "--output", str(tmp_path / "out")]
    code = f"""
import sys
sys.modules["pyarrow"] = None
from embedding.__main__ import main
sys.exit(main({arguments!r}))
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr == "error: embed needs pyarrow, which is not installed: pip install -r requirements.txt\n"


def test_a_full_disk_ends_it_with_one_line_and_the_same_command_goes_on(prepared_demo: Path, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text in made_texts(300)])
    arguments = ["embed", str(source), "--output", str(tmp_path / "out"), "--model", str(prepared_demo)]

    def little_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    full = run(*arguments, preexec=little_room)
    after = run(*arguments)

    assert full.returncode == 1
    (message,) = full.stderr.strip().splitlines()
    assert "can't be written to: File too large" in message
    assert after.returncode == 0
    assert not list((tmp_path / "out" / SHARDS).glob(".*"))


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_told_to_stop_it_says_that_the_same_command_goes_on(
    stop: signal.Signals, prepared_demo: Path, tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text in made_texts(20_000)])
    arguments = ["embed", str(source), "--output", str(tmp_path / "out"), "--model", str(prepared_demo)]

    with running(tmp_path, *arguments) as process:
        process.wait_for("loaded")
        process.process.send_signal(stop)
        status = process.process.wait(20)

    assert status == 128 + stop
    assert (
        process.output.splitlines()[-1]
        == "Stopped. Files that were whole are kept, and the same command makes the others."
    )
    assert "Traceback" not in process.output


def test_no_text_and_no_token_is_said(prepared_demo: Path, tmp_path: Path) -> None:
    rows = [{"text": "secret-text " * 3}, {"text": "secret-text \ud800"}, {"text": 7}]
    source = write_jsonl(tmp_path / "a.jsonl", rows)

    done = run(
        *("embed", str(source), "--output", str(tmp_path / "out"), "--model", str(prepared_demo)),
        *("--log-level", "DEBUG"),
        HF_TOKEN="hf_secret",
    )

    assert done.returncode == 3, done.stderr
    written = b"".join(contents(tmp_path / "out").values())
    assert "secret" not in done.stdout + done.stderr
    assert b"secret" not in written


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc")
def test_memory_stays_flat_however_large_the_input(prepared_gemma: Path, tmp_path: Path) -> None:
    def peak(documents: int) -> int:
        """Megabytes that the command holds at most."""
        rows = [{"text": "granite", "ballast": "x" * 12_000}] * documents
        source = write_jsonl(tmp_path / f"{documents}.jsonl", rows)
        output = tmp_path / f"out{documents}"
        model = ["--model", str(prepared_gemma), "--precision", "float32"]
        return peak_memory("embed", str(source), "--output", str(output), *model, "--shard-chars", "5000")

    small, large = peak(300), peak(3_000)

    assert large - small < 20  # the input has grown by 32


def test_progress_tells_the_rates_and_what_is_left() -> None:
    progress = Progress()
    progress.planned, progress.fraction = 1000, 0.5

    progress.add(report(0, documents=10, tokens=300, characters=400), earlier=True)
    progress.add(report(1, documents=10, tokens=300, characters=400))
    progress.tick(20, Done(texts=4.5, tokens=100, characters=100))
    progress.tick(20, Done(texts=0.5, tokens=50, characters=100))

    assert progress.line(60) == "█" * 12 + "░" * 12 + "  50%  15 texts  450 tokens  0.2 texts/s  8 tokens/s  1:40 left"


def test_progress_of_the_first_file_of_vectors_is_told_while_it_is_made() -> None:
    progress = Progress()
    progress.characters = 1000

    progress.tick(0, Done(texts=5, tokens=120, characters=250))

    assert progress.line(60) == "█" * 6 + "░" * 18 + "  25%  5 texts  120 tokens  0.1 texts/s  2 tokens/s  3:00 left"


@pytest.mark.parametrize("columns", [20, 60, 200])
def test_progress_is_no_wider_than_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("embedding.corpus.progress.TERMINAL_SECONDS", 0)
    terminal = Terminal()
    progress = Progress(terminal)
    progress.characters = 1000

    progress.tick(0, Done(texts=5, tokens=120, characters=250))

    line = terminal.getvalue().removeprefix("\r\033[K")
    assert len(line) < columns
    assert "25%" in line


def test_a_long_first_look_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("embedding.corpus.progress.LINE_SECONDS", 0)
    source = write_jsonl(tmp_path / "a.jsonl", [{"text": "granite " * 1000}] * 1000)

    open_and_describe(str(source), tmp_path / "out", CorpusSettings.read())

    said = re.findall(r"(\d+)%  looking at the input", capsys.readouterr().err)
    assert len(said) == 4
    assert int(said[0]) < int(said[-1]) <= 100


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def report(index: int, documents: int, tokens: int, characters: int) -> ShardReport:
    rows = documents * index
    return ShardReport(rows, rows + documents - 1, documents, 2 * documents, tokens, 0, characters)


def test_where_there_is_no_terminal_progress_is_a_line_now_and_then(prepared_gemma: Path, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text in made_texts(50)])
    code = f"""
import embedding.corpus.progress as progress
from embedding.__main__ import main
progress.LINE_SECONDS = 0
main(["embed", {str(source)!r}, "--output", {str(tmp_path / "out")!r}, "--model", {str(prepared_gemma)!r}])
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    (*_, last) = done.stderr.splitlines()
    assert re.fullmatch(r"█{24} 100%  50 texts  [\d,]+ tokens  [\d,.]+ texts/s  [\d,]+ tokens/s  0:00 left", last)


def test_the_manifest_tells_how_the_vectors_were_made(papers: Path) -> None:
    told = manifest(papers / "vectors")

    assert told["columns"] == {"text": "abstract", "title": "title", "id": "arxiv_id"}
    assert told["vectors"] == {"format": "float32", "dimension": 384}
    assert told["chunks"] == {"tokens": 256, "overlap": 32}
    assert told["counts"]["documents"] == 40
    assert told["prompt"] == {"document": "", "title": "before the text, as a line"}
    assert re.fullmatch("[0-9a-f]{40}", told["model"]["revision"])
    assert json.loads((papers / "vectors/job.json").read_text())["input"] == "papers.parquet"
