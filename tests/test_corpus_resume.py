"""Stopped at any moment and run again, a job comes out as if nothing had happened."""

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from embedding.corpus import SHARDS, CorpusError, Job, Shard, ShardReport, embed_shard
from embedding.corpus.local import CallQueue
from tests.cli import ROOT, run
from tests.corpora import Corpus, WordEngine, arxiv_rows, contents, made_texts, manifest, table, write_jsonl

SHARD = 4000


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows: list[object] = [{"id": f"n{n}", "text": text} for n, text in enumerate(made_texts(400, longest=30))]
    rows[3] = {"id": "n3", "text": ""}
    return write_jsonl(tmp_path_factory.mktemp("source") / "corpus.jsonl", rows)


@pytest.fixture(scope="module")
def undisturbed(corpus: Corpus, source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    output = tmp_path_factory.mktemp("undisturbed") / "out"
    corpus.embed(source, output, shard_chars=SHARD)
    return contents(output)


class Killed(Exception):
    """Stands for a kill in this process."""


def test_a_job_stopped_after_any_shard_goes_on_where_it_was(
    corpus: Corpus, source: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    made: list[int] = []

    def stop_after(count: int) -> Iterator[None]:
        for _ in range(count):
            yield
        raise Killed

    for count in (1, 3, 2):
        turns = stop_after(count)
        with pytest.raises(Killed):
            corpus.embed(source, output, corpus.map(output, lambda _, turns=turns: next(turns)), shard_chars=SHARD)
        assert not (output / "manifest.json").exists()
    before = {path.name: path.stat().st_mtime_ns for path in (output / SHARDS).glob("*.parquet")}
    summary = corpus.embed(
        source, output, corpus.map(output, lambda report: made.append(report.first_row)), shard_chars=SHARD
    )

    after = {path.name: path.stat().st_mtime_ns for path in (output / SHARDS).glob("*.parquet")}
    assert contents(output) == undisturbed
    assert len(before) >= 6
    assert before.items() <= after.items()
    assert summary.embedded == len(made) == len(after) - len(before)


KILLED = """
import os, signal, stat, sys
from embedding.__main__ import main

files, fsync = 0, os.fsync

def killed(descriptor):
    global files
    files += stat.S_ISREG(os.fstat(descriptor).st_mode)
    if files == {count}:
        os.kill(os.getpid(), signal.SIGKILL)
    fsync(descriptor)

os.fsync = killed
main({arguments!r})
"""


def test_a_job_killed_while_it_writes_comes_out_the_same_to_the_byte(
    prepared_gemma: Path, source: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    arguments = ["embed", str(source), "--output", str(output), "--model", str(prepared_gemma)]
    arguments += ["--precision", "float32", "--shard-chars", str(SHARD)]
    counts = random.Random(7).choices((1, 2, 3, 4), k=5)  # of the files of a run, the one that it does not finish
    statuses, half_written = [], set[str]()
    for count in counts:
        code = KILLED.format(count=count, arguments=arguments)
        statuses.append(subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True).returncode)
        half_written |= {path.name for path in output.rglob(".*.tmp")}

    last = run(*arguments)

    assert statuses == [-signal.SIGKILL] * len(counts)
    assert len(half_written) >= len(counts)
    assert last.returncode == 0, last.stderr
    assert contents(output) == undisturbed


def test_what_a_killed_run_left_half_written_is_removed(
    corpus: Corpus, source: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    corpus.embed(source, output, shard_chars=SHARD)
    (first, second, *_) = sorted((output / SHARDS).glob("*.parquet"))
    (output / SHARDS / f".{first.name}.{32 * '0'}.tmp").write_bytes(b"half")
    (output / f".job.json.{32 * '0'}.tmp").write_bytes(b"half")
    (output / ".notes.tmp").write_bytes(b"mine")
    first.write_bytes(first.read_bytes()[:100])
    second.unlink()

    summary = corpus.embed(source, output, shard_chars=SHARD)

    assert summary.embedded == 2
    assert contents(output) == {**undisturbed, ".notes.tmp": b"mine"}


def test_a_second_run_does_nothing(corpus: Corpus, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    corpus.embed(source, output, shard_chars=SHARD)
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*.parquet")}

    summary = corpus.embed(source, output, shard_chars=SHARD)

    assert summary.embedded == 0
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*.parquet")} == before


def test_a_changed_input_redoes_only_what_changed(corpus: Corpus, source: Path, tmp_path: Path) -> None:
    output, input = tmp_path / "out", tmp_path / "corpus.jsonl"
    lines = source.read_text().splitlines(keepends=True)
    input.write_text("".join(lines))
    shards = corpus.embed(input, output, shard_chars=SHARD).shards
    lines[200] = '{"id": "new", "text": "%s"}\n' % ("z" * len(made_texts(400, longest=30)[200]))
    input.write_text("".join(lines))

    summary = corpus.embed(input, output, shard_chars=SHARD)

    assert summary.embedded < shards / 2
    assert len(list((output / SHARDS).iterdir())) == summary.shards == manifest(output)["counts"]["shards"]
    assert table(output)["id"].to_pylist()[199] == "new"


@pytest.mark.parametrize("size", [3, 1_500])
def test_rows_that_are_appended_cost_what_they_are_and_no_file_is_made_anew(size: int, tmp_path: Path) -> None:
    rows = list(arxiv_rows(size + 101))
    engine, output = WordEngine(), tmp_path / "out"
    corpus = Corpus(engine, Path("words"))
    corpus.embed(write_jsonl(tmp_path / "a.jsonl", rows[:size]), output, shard_chars=200_000)
    before = {path.name: path.stat().st_mtime_ns for path in (output / SHARDS).iterdir()}
    engine.calls.clear()

    for count in (size + 1, size + 101):
        corpus.embed(write_jsonl(tmp_path / "a.jsonl", rows[:count]), output)

    after = {path.name: path.stat().st_mtime_ns for path in (output / SHARDS).iterdir()}
    assert sum(len(call) for call in engine.calls) == 101
    assert before.items() <= after.items()
    assert len(after) == len(before) + 2
    assert table(output)["id"].to_pylist() == [row["id"] for row in rows]


def test_the_files_hold_the_rows_in_their_order(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", list(arxiv_rows(300)))

    Corpus(WordEngine(), Path("words")).embed(source, tmp_path / "out", shard_chars=20_000)

    read = pq.read_table(tmp_path / "out" / SHARDS)
    assert read["row"].to_pylist() == list(range(300))


def test_a_row_that_changes_makes_its_own_file_anew_though_it_grows(tmp_path: Path) -> None:
    rows = list(arxiv_rows(300))
    corpus = Corpus(WordEngine(), Path("words"))
    shards = corpus.embed(write_jsonl(tmp_path / "a.jsonl", rows), tmp_path / "out", shard_chars=20_000).shards
    rows[100]["abstract"] += " granite" * 300

    summary = corpus.embed(write_jsonl(tmp_path / "a.jsonl", rows), tmp_path / "out")

    assert (summary.shards, summary.embedded, summary.set_aside) == (shards, 1, 1)


def test_a_row_that_gets_its_text_later_comes_in_where_it_is_and_no_other_file_changes(tmp_path: Path) -> None:
    rows = list(arxiv_rows(300))
    corpus = Corpus(WordEngine(), Path("words"))
    shards = corpus.embed(write_jsonl(tmp_path / "a.jsonl", rows), tmp_path / "whole", shard_chars=20_000).shards
    first = pq.read_table(sorted((tmp_path / "whole" / SHARDS).iterdir())[0])["row"].to_pylist()[-1]
    text, rows[first + 1]["abstract"], rows[first + 1]["title"] = rows[first + 1]["abstract"], "", ""
    corpus.embed(write_jsonl(tmp_path / "a.jsonl", rows), tmp_path / "out", shard_chars=20_000)
    rows[first + 1]["abstract"] = text

    summary = corpus.embed(write_jsonl(tmp_path / "a.jsonl", rows), tmp_path / "out")

    assert summary.embedded == 1 < shards
    assert pq.read_table(tmp_path / "out" / SHARDS)["row"].to_pylist() == list(range(300))


def test_files_that_are_of_the_input_no_more_are_set_aside_and_none_is_deleted(tmp_path: Path) -> None:
    rows, output = list(arxiv_rows(300)), tmp_path / "out"
    corpus = Corpus(WordEngine(), Path("words"))
    corpus.embed(write_jsonl(tmp_path / "a.jsonl", rows), output, shard_chars=20_000)
    before = {name.split("/")[-1]: data for name, data in contents(output).items() if name.endswith(".parquet")}

    corpus.embed(tmp_path / "a.jsonl", output, limit=20)

    after = {name.split("/")[-1]: data for name, data in contents(output).items() if name.endswith(".parquet")}
    assert before.items() <= after.items()
    assert table(output)["row"].to_pylist() == list(range(20))


def test_options_that_are_not_given_again_are_those_that_the_job_began_with(tmp_path: Path) -> None:
    rows = [{"key": n, "body": text, "words": "x"} for n, text in enumerate(made_texts(50))]
    source = write_jsonl(tmp_path / "a.jsonl", rows)
    corpus = Corpus(WordEngine(), Path("words"))
    options = {"text_column": "words", "id_column": "body", "vector_format": "int8", "shard_chars": 500, "keep": "key"}
    first = corpus.embed(source, tmp_path / "out", **options)
    before = contents(tmp_path / "out")

    again, smaller = corpus.embed(source, tmp_path / "out"), corpus.embed(source, tmp_path / "out", shard_chars=300)

    assert (again.embedded, smaller.embedded) == (0, 0)
    assert first.shards > 1
    assert contents(tmp_path / "out") == before


def test_shards_embedded_elsewhere_and_in_any_order_come_out_the_same(
    corpus: Corpus, source: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    engine = CallQueue(corpus.engine)

    def map(job: Job, shards: Iterator[Shard]) -> Iterator[ShardReport]:
        with ThreadPoolExecutor(4) as pool:
            tasks = [pool.submit(embed_shard, engine, job, shard, output / SHARDS) for shard in list(shards)[::-1]]
            for task in as_completed(tasks):
                yield task.result()

    corpus.embed(source, output, map, shard_chars=SHARD)

    assert contents(output) == undisturbed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"vector_format": "int8"}, ["vector format 'float32', not 'int8'"]),
        ({"chunk_tokens": 50}, ["chunk tokens 192, not 50"]),
        ({"id_column": "text"}, ["id 'id', not 'text'"]),
    ],
)
def test_another_job_into_the_same_folder_is_refused(
    corpus: Corpus, source: Path, options: dict[str, object], words: list[str], tmp_path: Path
) -> None:
    corpus.embed(source, tmp_path / "out", shard_chars=SHARD)
    before = contents(tmp_path / "out")

    with pytest.raises(CorpusError) as error:
        corpus.embed(source, tmp_path / "out", shard_chars=SHARD, **options)

    for word in [*words, "--output"]:
        assert word in str(error.value)
    assert contents(tmp_path / "out") == before


def test_another_input_into_the_same_folder_is_refused(corpus: Corpus, source: Path, tmp_path: Path) -> None:
    other = write_jsonl(tmp_path / "other.jsonl", [{"id": "n1", "text": "granite"}])
    corpus.embed(source, tmp_path / "out")

    with pytest.raises(CorpusError, match=r"input 'corpus\.jsonl', not 'other\.jsonl'"):
        corpus.embed(other, tmp_path / "out")


def test_another_input_of_the_same_name_is_refused_and_nothing_is_removed(
    corpus: Corpus, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "test").mkdir()
    other = write_jsonl(tmp_path / "test/corpus.jsonl", [{"id": "n1", "text": "granite"}])
    corpus.embed(source, tmp_path / "out")
    before = contents(tmp_path / "out")

    with pytest.raises(CorpusError, match=r"another input named 'corpus\.jsonl'.* Choose another --output"):
        corpus.embed(other, tmp_path / "out")

    assert contents(tmp_path / "out") == before
    assert corpus.embed(other, tmp_path / "out", replace=True).documents == 1
    assert table(tmp_path / "out")["id"].to_pylist() == ["n1"]


def test_a_folder_of_other_things_is_left_alone(corpus: Corpus, source: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")

    with pytest.raises(CorpusError, match="not empty"):
        corpus.embed(source, tmp_path)


def test_two_runs_into_one_folder_do_not_mix(corpus: Corpus, source: Path, tmp_path: Path) -> None:
    def second(_: ShardReport) -> None:
        with pytest.raises(CorpusError, match="another process"):
            corpus.embed(source, tmp_path / "out")

    assert corpus.embed(source, tmp_path / "out", corpus.map(tmp_path / "out", second)).embedded == 1


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads open files from /proc")
def test_a_job_holds_no_file_of_its_folder_open_between_two_shards(
    corpus: Corpus, source: Path, tmp_path: Path
) -> None:
    def map(job: Job, shards: Iterator[Shard]) -> Iterator[ShardReport]:
        for shard in shards:
            report = embed_shard(corpus.engine, job, shard, output / SHARDS)
            held.update(str(path.resolve()) for path in Path("/proc/self/fd").iterdir())
            yield report

    output, held = tmp_path / "out", set[str]()

    corpus.embed(source, output, map)

    assert held
    assert not [path for path in held if path.startswith(str(output.resolve()))]
