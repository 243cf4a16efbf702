"""`python -m embedding embed` as its user meets it: what it says, what other programs read, and how it can end."""

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

from embedding.corpus import SHARDS, Progress, ShardReport
from tests.cli import peak_memory, run, running
from tests.corpora import Corpus, contents, made_texts, manifest, matrix, table, write_jsonl
from tests.live import TOKEN
from tests.test_readme import blocks, shell_block


@pytest.fixture(scope="module")
def papers(prepared_demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the README's command was run, as printed, with the demo model."""
    folder = tmp_path_factory.mktemp("papers")
    texts = made_texts(40)
    columns = {"arxiv_id": pa.array(range(100, 140)), "title": made_texts(40, seed=1), "abstract": texts}
    pq.write_table(pa.table(columns), folder / "papers.parquet")
    (_, *arguments) = shell_block("embed papers").split(" -m embedding ")[1].split()
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
def test_the_readme_s_way_to_read_them_runs(papers: Path, library: str, demo: httpx.Client) -> None:
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

    assert done.returncode == 0, done.stderr
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

    progress.add(ShardReport(0, documents=10, chunks=20, tokens=300, rejects=0, characters=400), earlier=True)
    progress.add(ShardReport(1, documents=10, chunks=20, tokens=300, rejects=0, characters=400))
    progress.tick(2, chunks=10, tokens=150)

    assert progress.line(60) == "█" * 12 + "░" * 12 + "  50%  15 texts  0.2 texts/s  8 tokens/s  1:40 left"


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
    assert re.fullmatch(r"█{24} 100%  50 texts  [\d,.]+ texts/s  [\d,]+ tokens/s  0:00 left", last)


def test_the_manifest_tells_how_the_vectors_were_made(papers: Path) -> None:
    told = manifest(papers / "vectors")

    assert told["columns"] == {"text": "abstract", "title": "title", "id": "arxiv_id"}
    assert told["vectors"] == {"format": "float32", "dimension": 384}
    assert told["chunks"] == {"tokens": 256, "overlap": 32}
    assert told["counts"]["documents"] == 40
    assert told["prompt"] == {"document": "", "title": "before the text, as a line"}
    assert re.fullmatch("[0-9a-f]{40}", told["model"]["revision"])
    assert json.loads((papers / "vectors/job.json").read_text())["input"] == "papers.parquet"
