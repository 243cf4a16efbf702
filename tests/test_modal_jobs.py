"""Corpus jobs on Modal: whose an output folder is, what is printed, and that no job harms another's files."""

import asyncio
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from embedding.corpus import describe, embed_shard
from embedding.corpus.estimate import Speed
from embedding.on_modal import driver, jobs, prices, start
from embedding.on_modal.choices import Choices
from embedding.on_modal.driver import Driver
from tests.corpora import WordEngine, arxiv_rows, write_jsonl

modal = pytest.importorskip("modal")


class Entries:
    """A modal.Dict in this process: `put` with `skip_if_exists` is one step, as it is there."""

    def __init__(self) -> None:
        self.held: dict[str, Any] = {}
        self._turn = threading.Lock()

    def get(self, key: str, default: Any = None) -> Any:
        return self.held.get(key, default)

    def put(self, key: str, value: Any, *, skip_if_exists: bool = False) -> bool:
        with self._turn:
            if skip_if_exists and key in self.held:
                return False
            self.held[key] = value
            return True


def over(*ended: str) -> Callable[[str], bool]:
    return lambda job: job in ended


def test_the_first_job_has_the_folder_and_the_second_is_told_whose_it_is() -> None:
    entries = Entries()

    assert jobs.claim(entries, "vectors", "fc-1", over()) is None
    assert jobs.claim(entries, "vectors", "fc-2", over()) == "fc-1"
    assert jobs.claim(entries, "others", "fc-2", over()) is None


def test_a_job_that_is_started_again_keeps_its_folder() -> None:
    entries = Entries()
    jobs.claim(entries, "vectors", "fc-1", over())

    assert jobs.claim(entries, "vectors", "fc-1", over()) is None


def test_the_folder_of_a_job_that_is_over_is_free_and_then_taken_once() -> None:
    entries = Entries()
    for job in ("fc-1", "fc-2", "fc-3"):
        ended = over("fc-1", "fc-2")
        assert jobs.claim(entries, "vectors", job, ended) is None

    assert jobs.claim(entries, "vectors", "fc-4", over("fc-1", "fc-2")) == "fc-3"


@pytest.mark.parametrize("before", [0, 1, 3])
def test_of_many_jobs_at_one_moment_one_gets_the_folder(before: int) -> None:
    entries = Entries()
    ended = [f"fc-old{n}" for n in range(before)]
    for job in ended:
        jobs.claim(entries, "vectors", job, over(*ended))
    all_at_once, answers = threading.Barrier(8), {}

    def start_job(job: str) -> None:
        all_at_once.wait()
        answers[job] = jobs.claim(entries, "vectors", job, over(*ended))

    threads = [threading.Thread(target=start_job, args=(f"fc-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (winner,) = [job for job, other in answers.items() if other is None]
    assert {other for job, other in answers.items() if job != winner} == {winner}


@pytest.mark.parametrize("output", ["/home/me/vectors", "../vectors", "a/../../b", ".", "s3://b/vectors"])
def test_an_output_that_is_not_on_the_volume_is_refused(output: str) -> None:
    with pytest.raises(jobs.JobError, match="must be the name of a folder"):
        jobs.checked_output(output)


@pytest.mark.parametrize(
    ("to", "bucket", "said"),
    [
        ("bucket://vectors", False, "this app has no bucket"),
        ("bucket:///vectors", True, "must be the name of a folder"),
        ("bucket://../vectors", True, "must be the name of a folder"),
        ("hf://models/me/papers", True, "must be bucket://FOLDER or hf://datasets/OWNER/NAME"),
        ("hf://datasets/papers", True, "must be bucket://FOLDER"),
        ("vectors", True, "must be bucket://FOLDER"),
    ],
)
def test_a_destination_that_is_none_is_refused_before_anything_runs(to: str, bucket: bool, said: str) -> None:
    with pytest.raises(jobs.JobError, match=said):
        jobs.checked_destination(to, bucket)


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("hf://datasets/me/papers/*.parquet", "hf://datasets/me/papers/*.parquet"),
        ("papers.parquet", "/inputs/papers.parquet"),
        ("bucket://papers/*.jsonl", "/bucket/papers/*.jsonl"),
        ("/inputs/papers.csv", "/inputs/papers.csv"),
        ("volume://papers.csv", "/inputs/papers.csv"),
        ("volume:///papers.csv", "/inputs/papers.csv"),
        ("bucket:///papers/a.csv", "/bucket/papers/a.csv"),
        ("bucket://", "/bucket"),
    ],
)
def test_an_input_is_found_where_its_address_says(address: str, path: str) -> None:
    assert jobs.located(address, Path("/inputs"), Path("/bucket")) == path


@pytest.mark.parametrize("address", ["volume://../vectors/a.csv", "bucket://a/../../b", "../a.csv"])
def test_an_input_does_not_lead_out_of_where_it_begins(address: str) -> None:
    with pytest.raises(jobs.JobError, match="must not lead out"):
        jobs.located(address, Path("/inputs"), Path("/bucket"))


def test_another_input_of_the_same_name_has_another_place(tmp_path: Path) -> None:
    volume = Volume()
    one, two = tmp_path / "a" / "papers.jsonl", tmp_path / "b" / "papers.jsonl"
    for path, text in ((one, "first"), (two, "second")):
        path.parent.mkdir()
        path.write_text(text)

    places = [start.upload(volume, path) for path in (one, two, one)]

    assert places[0] == places[2] != places[1]
    assert all(place.endswith("/papers.jsonl") for place in places)
    assert volume.removed == []


def test_a_folder_that_changed_has_another_place(tmp_path: Path) -> None:
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "a.jsonl").write_text("first")
    before = jobs.digest(folder)

    (folder / "a.jsonl").rename(folder / "b.jsonl")

    assert jobs.digest(folder) != before


class Volume:
    """Stands in for a volume: what is uploaded, and what is removed."""

    def __init__(self) -> None:
        self.files: dict[str, Path] = {}
        self.removed: list[str] = []

    def batch_upload(self, *, force: bool) -> "Volume":
        return self

    def __enter__(self) -> "Volume":
        return self

    def __exit__(self, *_: object) -> None: ...

    def put_file(self, path: Path, place: str) -> None:
        self.files[place] = path

    put_directory = put_file

    def remove_file(self, path: str, **_: object) -> None:
        self.removed.append(path)


class Call:
    """A job that answers `words` when asked for the third time."""

    object_id = "fc-7"

    def __init__(self, well: bool = True, words: str = "60 documents") -> None:
        self.asked, self.answer = 0, (well, words)

    def get(self, timeout: float) -> tuple[bool, str]:
        self.asked += 1
        if self.asked < 3:
            raise TimeoutError
        return self.answer


def start_one(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: Call,
    deployed: bool = True,
    detached: bool = False,
    **choices: str,
) -> list[Any]:
    """Start a job of a small file; the arguments that `spawn` got."""
    given = {"APP_NAME": "papers", **choices}
    spawned: list[Any] = []
    function = SimpleNamespace(spawn=lambda *arguments: spawned.extend(arguments) or call)
    monkeypatch.setattr(start, "find_lasting", lambda name, function: (function, deployed))
    (tmp_path / "papers.jsonl").write_text('{"text": "one"}\n')
    entries = Entries()
    entries.put(jobs.status_key("fc-7"), "50 %  2 containers, about $0.01 so far at list prices")
    address, options = str(tmp_path / "papers.jsonl"), {"replace": False}
    monkeypatch.setattr(sys, "argv", ["modal", "run", *(["--detach"] if detached else []), "modal_app.py"])
    start.start_job(Choices.read(given), given, function, "ap-7", Volume(), entries, address, "vectors", "", options)
    return spawned


def test_a_job_says_how_to_watch_cancel_and_fetch_it_and_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spawned = start_one(tmp_path, monkeypatch, Call(), MODEL_ID="me/model")

    said = capsys.readouterr().out
    assert spawned[0].endswith("/papers.jsonl")
    assert spawned[1:] == ["vectors", {"replace": False}, 100, None, {"MODEL_ID": "me/model"}]
    assert "The job fc-7 has begun. It goes on without this machine." in said
    assert "modal.FunctionCall.from_id('fc-7').get()" in said
    assert "modal.FunctionCall.from_id('fc-7').cancel(terminate_containers=True)" in said
    assert "modal app logs papers --follow --function-call fc-7" in said
    assert "modal dict get papers-vectors-jobs 'status of fc-7'" in said
    assert "modal volume get papers-vectors vectors ." in said
    assert "--force" in said
    assert said.count("about $0.01 so far") == 1
    assert said.endswith("60 documents\n")


def test_a_job_that_would_end_with_the_command_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start_one(tmp_path, monkeypatch, Call(), deployed=False)

    assert (
        "ENDS WITH THIS COMMAND. To let it go on, deploy the app first, or use modal run --detach"
        in capsys.readouterr().out
    )


def test_the_lines_are_of_the_environment_that_the_job_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODAL_ENVIRONMENT", "dev")

    start_one(tmp_path, monkeypatch, Call())

    said = capsys.readouterr().out
    assert all(f"  {line}" in said for line in ("watch ", "log ", "fetch "))
    assert said.count(" --env dev") == 3


def test_a_detached_job_has_its_log_by_the_id_of_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start_one(tmp_path, monkeypatch, Call(), deployed=False, detached=True)

    said = capsys.readouterr().out
    assert "It goes on without this machine." in said
    assert "modal app logs ap-7 --follow" in said


@pytest.mark.parametrize("address", ["", "  "])
def test_a_blank_input_uploads_nothing(address: str) -> None:
    given = {"APP_NAME": "papers"}
    volume = Volume()

    with pytest.raises(SystemExit, match="error: --input is blank"):
        start.start_job(Choices.read(given), given, None, None, volume, Entries(), address, "vectors", "", {})

    assert not volume.files


def test_a_machine_that_is_offline_for_a_while_follows_its_job_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "TELL_SECONDS", 0)
    answers: list[Any] = [modal.exception.ConnectionError("no route"), TimeoutError(), (True, "60 documents")]

    def get(timeout: float) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert start.follow(SimpleNamespace(get=get, object_id="fc-7"), Entries()) == (True, "60 documents")


def test_only_where_none_is_deployed_the_job_runs_in_the_app_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(error: Exception | None) -> Any:
        def hydrate() -> None:
            if error:
                raise error

        return SimpleNamespace(hydrate=hydrate)

    for error, deployed in ((modal.exception.NotFoundError("none"), False), (None, True)):
        monkeypatch.setattr(modal.Function, "from_name", lambda app, name, error=error: lookup(error))
        assert start.find_lasting("papers", "own")[1] is deployed

    monkeypatch.setattr(modal.Function, "from_name", lambda app, name: lookup(modal.exception.AuthError("no")))
    with pytest.raises(modal.exception.AuthError):
        start.find_lasting("papers", "own")


@pytest.mark.parametrize(
    ("raised", "over"),
    [
        (None, True),
        (TimeoutError(), False),
        (ValueError("of the job"), True),
        (modal.exception.FunctionTimeoutError("a day is over"), True),
        (modal.exception.OutputExpiredError("long ago"), True),
        (modal.exception.RemoteError("cancelled"), True),
        (modal.exception.NotFoundError("no such call"), True),
    ],
)
def test_a_job_is_over_when_modal_says_so(
    monkeypatch: pytest.MonkeyPatch, raised: Exception | None, over: bool
) -> None:
    monkeypatch.setattr(modal.FunctionCall, "from_id", lambda job: answering(raised))

    assert driver.is_over("fc-1") is over


@pytest.mark.parametrize(
    "error", ["AuthError", "ConnectionError", "InternalError", "ServiceError", "PermissionDeniedError"]
)
def test_a_job_of_which_modal_says_nothing_keeps_its_folder(monkeypatch: pytest.MonkeyPatch, error: str) -> None:
    raised = getattr(modal.exception, error)("not now")
    monkeypatch.setattr(modal.FunctionCall, "from_id", lambda job: answering(raised))

    with pytest.raises(type(raised)):
        driver.is_over("fc-1")


def answering(raised: Exception | None) -> Any:
    """A call that gives nothing, or raises."""

    def get(timeout: float) -> None:
        if raised:
            raise raised

    return SimpleNamespace(get=get)


def test_apps_that_share_a_volume_share_the_board_on_which_its_folders_are_claimed() -> None:
    one, two = (Choices.read({"APP_NAME": name, "OUTPUT_VOLUME": "ours"}) for name in ("papers", "patents"))

    assert one.board == two.board != Choices.read({}).board


def test_a_job_that_fails_ends_the_command_with_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="error: which column is the text"):
        start_one(tmp_path, monkeypatch, Call(False, "which column is the text can't be told"))


def test_an_input_that_is_not_there_is_told_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="there is no file or folder"):
        start.upload(Volume(), tmp_path / "none.jsonl")


def test_the_cost_so_far_is_that_of_what_ran() -> None:
    status = jobs.Status(None, "fc-1", worker_dollars=0.001, driver_dollars=0.0)
    for container, seconds in (("ta-1", 1000), ("ta-2", 1800), ("ta-1", 1800)):
        status.worked(container, seconds)

    assert status.cost == "2 containers, 1.00 container-hours, about $3.60 so far at list prices"


def test_a_price_is_that_of_cores_memory_card_and_region() -> None:
    cpu = prices.dollars_a_second(2, 1.5)

    assert cpu == pytest.approx(2 * 0.0000131 + 1.5 * 0.00000222)
    assert prices.dollars_a_second(2, 1.5, ["L4", "A10"]) == pytest.approx(cpu + 0.000306)
    assert prices.dollars_a_second(2, 1.5, regions=["eu"]) == pytest.approx(1.5 * cpu)
    assert prices.dollars_a_second(2, 1.5, regions=["us-east"]) == pytest.approx(1.75 * cpu)
    assert prices.dollars_a_second(2, 1.5, ["RTX-PRO-6000"]) is None


class Containers:
    """Stands in for the class Corpus: `map` and `remote` run here, with an engine that costs nothing."""

    def __init__(self) -> None:
        self.engine = WordEngine()
        self.describe = SimpleNamespace(remote=lambda: describe(self.engine, "words"))
        self.measure = SimpleNamespace(remote=lambda job, documents: Speed(10, 1000, 10_000, seconds=36.0))
        self.embed = SimpleNamespace(starmap=self._starmap)

    def __call__(self, precision: str) -> "Containers":
        return self

    def with_options(self, *, max_containers: int) -> "Containers":
        return self

    def _starmap(self, calls: Any, order_outputs: bool) -> Any:
        loop = asyncio.new_event_loop()
        try:
            while (call := loop.run_until_complete(anext(calls, None))) is not None:
                yield embed_shard(self.engine, *call), "ta-1", 1.0
        finally:
            loop.close()


@pytest.fixture
def a_driver(tmp_path: Path) -> Driver:
    for name in ("inputs", "vectors"):
        (tmp_path / name).mkdir()
    write_jsonl(tmp_path / "inputs/papers.jsonl", list(arxiv_rows(500)))
    volume = SimpleNamespace(commit=lambda: None, reload=lambda: None)
    return Driver(Choices.read({}), Containers(), volume, tmp_path / "vectors", tmp_path / "inputs", None, Entries())


def test_a_dry_run_says_what_the_job_would_take_and_cost_and_writes_nothing(a_driver: Driver, tmp_path: Path) -> None:
    well, words = a_driver.run("papers.jsonl", "out", {"dry_run": True, "shard_chars": 100_000}, 3, None, {})

    assert well, words
    assert "500 rows" in words
    # About 500 × 1,200 characters, at 36 s for 10,000 of them, on 3 containers, of two cores and 1.5 GiB.
    assert re.search(r"it takes about 1\d\.\d minutes on 3 containers, about \$0\.0\d at list prices", words)
    assert not (tmp_path / "vectors/out").exists()


def test_a_job_in_containers_is_well_unless_too_many_rows_are_rejected(a_driver: Driver, tmp_path: Path) -> None:
    options = {"keep": "authors", "text_column": None, "limit": 100}
    assert a_driver.run("papers.jsonl", "out", options, 3, None, {})[0]
    write_jsonl(tmp_path / "inputs/poor.jsonl", [{"text": "granite"}, {"text": ""}])

    poor = a_driver.run("poor.jsonl", "poor", {}, 3, None, {})
    allowed = a_driver.run("poor.jsonl", "poor", {"allow_rejects": True}, 3, None, {})

    assert poor[0] is False
    assert "rows read: 2 = 1 documents + 1 rejects" in poor[1]
    assert "--allow-rejects" in poor[1]
    assert allowed[0]
