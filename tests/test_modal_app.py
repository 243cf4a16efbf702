"""The Modal home, as far as it goes without an account: what it declares, and its classes called in this process."""

import asyncio
import gc
import importlib
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import ContextVar, copy_context
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest

from embedding.model import Engine
from embedding.on_modal import publish
from embedding.on_modal.driver import Driver
from embedding.on_modal.jobs import claim
from embedding.serving import Service
from embedding.settings import Settings
from tests.cli import ROOT, run
from tests.corpora import made_texts, write_jsonl
from tests.live import TOKEN
from tests.test_modal_jobs import Entries

modal = pytest.importorskip("modal")
pytestmark = pytest.mark.filterwarnings("ignore:.* executing locally:UserWarning")

Loader = Callable[..., ModuleType]


@pytest.fixture
def modal_app(tiny_gemma: Path, monkeypatch: pytest.MonkeyPatch) -> Loader:
    """Loads modal_app.py as it is deployed with these variables, or as a container has them."""

    def load(**variables: str) -> ModuleType:
        for name, value in {"MODEL_ID": str(tiny_gemma), **variables}.items():
            monkeypatch.setenv(name, value)
        return importlib.reload(importlib.import_module("modal_app"))

    return load


async def get(app: Any, path: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://modal") as client:
        return await client.get(path, headers=headers)


def ask(app: Any, path: str = "/predict", body: Any = None, **headers: str) -> httpx.Response:
    async def post() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://modal") as client:
            return await client.post(path, json=body or {"query": "lattice"}, headers=headers)

    return asyncio.run(post())


def test_the_class_serves_what_every_home_serves(modal_app: Loader) -> None:
    app = modal_app(auth_token=TOKEN).Embedding().web.local()

    assert app.state.service.ready
    assert ask(app).status_code == 401
    assert len(ask(app, Authorization=f"Bearer {TOKEN}").json()) == 96


def test_what_the_snapshot_holds_has_no_token_and_takes_the_one_of_the_day(
    modal_app: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    then, today = "the-token-of-the-snapshot", "the-token-of-today"
    load_now, held = Service.load_now, []

    def load_then_be_restored_elsewhere(service: Service) -> Engine:
        engine = load_now(service)
        settings = [thing for thing in gc.get_objects() if type(thing) is Settings]
        held.extend(each for each in settings if then in (*each.tokens, each.hub_token))
        monkeypatch.setenv("auth_token", today)
        return engine

    monkeypatch.setattr(Service, "load_now", load_then_be_restored_elsewhere)
    app = modal_app(auth_token=then, HF_TOKEN=then).Embedding().web.local()

    assert not held
    assert ask(app, Authorization=f"Bearer {then}").status_code == 401
    assert ask(app, Authorization=f"Bearer {today}").status_code == 200


def test_the_end_of_a_container_waits_for_the_requests_in_it(modal_app: Loader) -> None:
    app = modal_app(auth_token=TOKEN).Embedding().web.local()

    async def end_amid_a_request() -> tuple[httpx.Response, httpx.Response]:
        events: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        said: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        container = asyncio.create_task(app({"type": "lifespan", "state": {}}, events.get, said.put))
        await events.put({"type": "lifespan.startup"})
        assert (await said.get())["type"] == "lifespan.startup.complete"
        headers = {"Authorization": f"Bearer {TOKEN}"}
        body_goes_on = asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield b'{"query": '
            await body_goes_on.wait()
            yield b'"lattice"}'

        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://modal", headers=headers) as client:
            under_way = asyncio.create_task(client.post("/predict", content=body()))
            while not app.state.drain.under_way:
                await asyncio.sleep(0)
            await events.put({"type": "lifespan.shutdown"})
            while not app.state.drain.begun:
                await asyncio.sleep(0)
            late = await client.post("/predict", json={"query": "late"})
            assert said.empty()
            body_goes_on.set()
            answered = await under_way
        assert (await said.get())["type"] == "lifespan.shutdown.complete"
        await container
        return answered, late

    answered, late = asyncio.run(end_amid_a_request())

    assert len(answered.json()) == 96
    assert late.status_code == 503


def test_without_a_token_every_answer_says_what_to_create(modal_app: Loader) -> None:
    app = modal_app().Embedding().web.local()

    answer = ask(app, "/predict")

    assert answer.status_code == 503
    assert "modal secret create embedding auth_token=YOUR_TOKEN" in answer.json()["detail"]


def test_the_layers_of_the_model_come_before_those_of_the_code(modal_app: Loader) -> None:
    serves = modal_app().serves

    assert not any(
        serves(Path(path))
        for path in ("settings.py", "atomic.py", "model/fetch/weights.py", "model/prepare/prepare.py")
    )
    assert all(serves(Path(path)) for path in ("api/app.py", "serving/service.py", "corpus/run.py", "__main__.py"))
    assert serves(Path("model/__pycache__/weights.cpython-311.pyc"))


def test_what_is_chosen_is_declared(modal_app: Loader) -> None:
    app = modal_app(MIN_CONTAINERS="1", BUFFER_CONTAINERS="2", CPU_CORES="4", GPU="L4,A10", PRECISION="float32")

    assert (app.SCALING["min_containers"], app.SCALING["buffer_containers"]) == (1, 2)
    assert (app.CONTAINER["cpu"], app.CONTAINER["gpu"]) == ((4, 4), ["L4", "A10"])
    assert app.SNAPSHOT["enable_memory_snapshot"] is False
    assert (app.CHOICES.model["ENGINE"], app.CHOICES.model["PRECISION"]) == ("torch", "float32")


def test_cores_and_memory_have_a_hard_limit_and_no_pool_more_threads_than_cores(modal_app: Loader) -> None:
    app = modal_app(CPU_CORES="2.5")

    request, limit = app.CONTAINER["memory"]

    assert app.CONTAINER["cpu"] == (2.5, 2.5)
    assert request < limit
    pools = ("THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    assert {app.CHOICES.limits[name] for name in pools} == {"3"}


def test_no_token_of_the_machine_that_deploys_goes_into_the_image(modal_app: Loader) -> None:
    app = modal_app(HF_TOKEN="hf_mine", auth_token="my-token", AUTH_TOKEN="my-token")

    declared = repr((app.CHOICES, app.CHOICES.model, app.CHOICES.limits, app.carried(app.GIVEN), app.PREPARE))

    assert "hf_mine" not in declared
    assert "my-token" not in declared


def test_a_container_declares_what_was_chosen_where_it_was_deployed_from(
    modal_app: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = modal_app(APP_NAME="papers", SERVER="1", BUCKET="mine", BUCKET_SECRET="keys", MAX_CLIENT_BATCH="7")
    carried = here.carried(here.GIVEN)
    for name in ("APP_NAME", "SERVER", "BUCKET", "BUCKET_SECRET", "MAX_CLIENT_BATCH"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(modal, "is_local", lambda: False)

    there = modal_app(**carried)

    assert there.app.name == "papers"
    assert there.Server
    assert list(there.bucket_mount()) == ["/bucket"]
    assert there.CHOICES.limits["MAX_CLIENT_BATCH"] == "7"


@pytest.mark.parametrize(
    ("version", "created", "said"), [(None, True, False), (1, False, True), (2, False, False), ("offline", True, False)]
)
def test_a_volume_that_is_there_is_used_as_it_is(
    modal_app: Loader,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    version: int | str | None,
    created: bool,
    said: bool,
) -> None:
    app = modal_app()

    def from_name(name: str, *, version: int | None = None, create_if_missing: bool = False) -> Any:
        def hydrate() -> None:
            if there == "offline":
                raise modal.exception.ConnectionError("no route")
            if there is None:
                raise modal.exception.NotFoundError("no such volume")
            if version not in (None, there):
                raise modal.exception.InvalidError("exists but has version v1, not v2 as requested")

        return SimpleNamespace(hydrate=hydrate, create=create_if_missing, version=version)

    there = version
    monkeypatch.setattr(modal.Volume, "from_name", from_name)
    volume = app.find_volume("mine")

    assert (volume.create, volume.version) == ((True, 2) if created else (False, None))
    assert ("'mine' is of version 1" in capsys.readouterr().out) is said


def test_a_wrong_choice_ends_the_deploy_with_one_line(modal_app: Loader) -> None:
    with pytest.raises(SystemExit, match=r"^error: MIN_CONTAINERS is 'one', and must be a whole number of 0 or more.$"):
        modal_app(MIN_CONTAINERS="one")


def test_it_is_deployed_from_a_machine_that_has_no_package_but_modal() -> None:
    """All that is installed here and not by modal is out of reach."""
    blocked = (
        "pydantic numpy torch fastapi starlette onnxruntime tokenizers orjson pyarrow fsspec huggingface_hub filelock"
    )
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked.split()})); import modal_app; print(modal_app.app.name)"
    )

    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )

    assert told.stdout.splitlines()[-1:] == ["embedding"], told.stderr


def caller(app: ModuleType) -> Callable[..., Any]:
    """Calls `.embed.remote` of one container, in this process."""
    container = app.Embedding()
    container.web.local()  # which loads; a local call of an async method does not

    return lambda *arguments, **named: asyncio.run(container.embed.local(*arguments, **named))


def call(app: ModuleType, *arguments: Any, **named: Any) -> Any:
    """What `.embed.remote` gives, in a new container."""
    return caller(app)(*arguments, **named)


def test_a_call_without_http_gives_the_vectors_that_http_gives(modal_app: Loader) -> None:
    app = modal_app(auth_token=TOKEN, PRECISION="float32")

    one, many = call(app, "lattice"), call(app, ["lattice", "lattice"], task="document")

    assert one.shape == (96,)
    assert many.shape == (2, 96)
    assert one.dtype == many.dtype == np.float32
    by_http = ask(app.Embedding().web.local(), Authorization=f"Bearer {TOKEN}").json()
    assert np.allclose(one, by_http, atol=1e-6)
    assert not np.allclose(one, many[0], atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("   ",), "texts: must not be blank"),
        ((["fine", ""],), r"texts\.1: must not be blank"),
        ((7,), "texts: must be a string or a list of strings"),
        ((["fine", 7],), r"texts\.1: must be a string"),
        (([],), "texts: .*at least 1"),
        ((["a", "b", "c"],), "takes at most 2"),
        (("a", "other"), "task: .*'query' or 'document'"),
        (("half \ud800",), "surrogate"),
        ((["fine", "half \ud800"],), r"texts\.1: .*surrogate"),
        ((b"bytes",), "texts: must be a string or a list"),
        (({"query": "a"},), "texts: must be a string or a list"),
        ((np.array(["a"]),), "texts: must be a string or a list"),
        (((text for text in "ab"),), "texts: must be a string or a list"),
        ((["a", "b", 7],), "takes at most 2"),
        (("a", ["query"]), "task: .*'query' or 'document'"),
        (({"a", "b"},), "texts: must be a string or a list"),
    ],
)
def test_a_call_without_http_refuses_what_http_refuses(modal_app: Loader, arguments: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call(modal_app(MAX_CLIENT_BATCH="2"), *arguments)


def test_a_call_without_http_refuses_an_option_that_http_refuses(modal_app: Loader) -> None:
    embed = caller(modal_app())
    refused: list[tuple[dict[str, Any], str]] = [
        ({"dimensions": 97}, "dimensions: must be 1 to 96"),
        ({"dimensions": 3.5}, "dimensions: must be a whole number"),
        ({"precision": "int4"}, "precision: .*'ubinary'"),
        ({"title": "x", "task": "query"}, "title: belongs to a document"),
        ({"titles": ["x", "y"]}, "titles: has 2 titles for 1 texts"),
        ({"title": "half \ud800"}, "title: .*surrogate"),
        ({"task": "document", "titles": ["half \ud800"]}, r"titles\.0: .*surrogate"),
        ({"prompt": "x" * 2001}, "prompt: has 2001 characters"),
        ({"chunk_tokens": 40}, "chunk_tokens: needs chunk"),
        ({"truncate": 1}, "truncate: must be a boolean"),
        ({"walrus": 1}, "walrus: is not permitted"),
        ({"query": "b"}, "query: is not permitted"),
        ({"encoding_format": "base64"}, "encoding_format: is not permitted"),
    ]

    for options, said in refused:
        with pytest.raises(ValueError, match=said):
            embed("a", **options)


def test_a_call_without_http_takes_the_options_of_predict(modal_app: Loader) -> None:
    app = modal_app(auth_token=TOKEN, PRECISION="float32", DEFAULT_TASK="none", DEFAULT_DIMENSIONS="48")
    texts = ["a lattice", "of atoms"]
    embed, served = caller(app), app.Embedding().web.local()
    taken: list[dict[str, Any]] = [
        {},
        {"task": None},
        {"task": "clustering", "dimensions": 20},
        {"prompt": "find: ", "normalize": False},
        {"titles": ["On lattices", None]},
        {"title": "On lattices", "precision": "int8", "dimensions": 64},
    ]

    for options in taken:
        vectors = embed(texts, **options)
        answer = ask(served, body={"query": texts, **options}, Authorization=f"Bearer {TOKEN}")
        assert vectors.shape == (2, options.get("dimensions", 48))
        assert vectors.dtype == (np.int8 if "precision" in options else np.float32)
        np.testing.assert_allclose(vectors, answer.json(), atol=1e-6)


def test_a_call_without_http_cuts_long_texts_into_windows(modal_app: Loader) -> None:
    embed = caller(modal_app(PRECISION="float32"))
    text = "granite harbour " * 60

    windows = embed(text, chunk=True, chunk_tokens=40)

    assert [len(each) for each in embed([text, "short"], chunk=True, chunk_tokens=40)] == [len(windows), 1]
    assert (windows[0]["start"], windows[0]["vector"].shape) == (0, (96,))
    assert windows[-1]["end"] >= len(text.rstrip())


def test_a_call_without_http_is_no_larger_than_a_request_may_be(modal_app: Loader) -> None:
    with pytest.raises(ValueError, match=r"texts: have 2000 bytes, and a call takes at most 1000 \(MAX_BODY_BYTES\)"):
        call(modal_app(MAX_BODY_BYTES="1000"), ["a" * 1000, "b" * 1000])


def test_the_container_computes_with_the_threads_that_were_chosen(
    modal_app: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = modal_app(auth_token=TOKEN, CPU_CORES="1")
    for name, value in app.CHOICES.limits.items():
        monkeypatch.setenv(name, value)

    served = app.Embedding().web.local()

    assert asyncio.run(get(served, "/info", Authorization=f"Bearer {TOKEN}")).json()["threads"] == 1


def test_a_call_without_http_refuses_to_cut_a_text_when_asked(modal_app: Loader) -> None:
    with pytest.raises(ValueError, match=r"texts\.1: .*tokens"):
        call(modal_app(), ["short", "long " * 500], truncate=False)


class Method:
    """Stands in for a method of a Modal class: `remote` here, and `starmap` over threads, in no order."""

    def __init__(self, method: Any) -> None:
        self.remote = self._call = method.local

    def starmap(self, calls: AsyncIterator[Any], *, order_outputs: bool) -> Iterator[Any]:
        assert not order_outputs
        arguments = asyncio.run(collected(calls))
        with ThreadPoolExecutor(2) as threads:
            for done in as_completed([threads.submit(self._call, *each) for each in arguments]):
                yield done.result()


async def collected(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


class NoVolume:
    """Stands in for a volume that is this machine's disk."""

    def commit(self) -> None: ...

    reload = commit


@pytest.fixture
def on_disk(modal_app: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The app with this machine's disk for its volumes: vectors go to `tmp_path`."""
    app = modal_app(PRECISION="float32")
    monkeypatch.setattr(app, "VECTORS", tmp_path)
    monkeypatch.setattr(app, "inputs", NoVolume())
    monkeypatch.setattr(app, "vectors", NoVolume())
    return app


@pytest.fixture
def containers(on_disk: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Method:
    """The method of the class Corpus that embeds, with threads for containers."""
    real = on_disk.Corpus
    embeds = Method(real(precision="float32").embed)
    stand_in = SimpleNamespace(describe=Method(real(precision="float32").describe), embed=embeds)
    monkeypatch.setattr(on_disk, "Corpus", lambda precision: stand_in)
    return embeds


def files_under(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "papers.jsonl", [{"text": text} for text in made_texts(60)])


@pytest.fixture
def here(papers: Path, tmp_path: Path) -> dict[str, bytes]:
    """What one machine makes of the papers."""
    done = run("embed", str(papers), "--output", str(tmp_path / "here"), "--shard-chars", "800")
    assert done.returncode == 0, done.stderr
    return files_under(tmp_path / "here")


@pytest.mark.usefixtures("containers")
def test_a_corpus_in_containers_gives_the_files_that_one_machine_gives(
    on_disk: ModuleType, tmp_path: Path, papers: Path, here: dict[str, bytes]
) -> None:
    well, words = on_disk.embed_corpus.local(str(papers), "there", {"shard_chars": 800}, containers=100)

    assert well, words
    assert "60 documents" in words
    assert "container-hours, about $0.00 so far at list prices" in words
    assert len(here) > 5
    assert files_under(tmp_path / "there") == here


def test_a_driver_that_is_replaced_goes_on_with_no_shard_twice_or_missing(
    on_disk: ModuleType, containers: Method, tmp_path: Path, papers: Path, here: dict[str, bytes]
) -> None:
    embedded: list[str] = []
    map_all = containers.starmap

    def taken_away(calls: AsyncIterator[Any], *, order_outputs: bool) -> Iterator[Any]:
        """Two shards are done and told, a third is done and not told, when the driver goes."""
        for number, arguments in enumerate(asyncio.run(collected(calls))):
            answer = containers._call(*arguments)
            if number == 2:
                raise SystemExit
            yield answer

    def embed(job: Any, shard: Any, folder: Path) -> Any:
        embedded.append(shard.name)
        return real(job, shard, folder)

    real, containers._call = containers._call, embed
    containers.starmap = taken_away
    with pytest.raises(SystemExit):
        on_disk.embed_corpus.local(str(papers), "there", {"shard_chars": 800})
    assert len(embedded) == 3
    containers.starmap = map_all
    well, words = on_disk.embed_corpus.local(str(papers), "there", {"shard_chars": 800})

    assert well, words
    assert len(embedded) == len(set(embedded)) > 5
    assert files_under(tmp_path / "there") == here


def test_of_two_drivers_on_one_output_the_second_is_told_whose_it_is(
    on_disk: ModuleType, containers: Method, tmp_path: Path, papers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_jsonl(tmp_path / "other.jsonl", [{"text": text} for text in made_texts(20)])
    job: ContextVar[str] = ContextVar("job")
    monkeypatch.setattr(on_disk, "board", Entries())
    monkeypatch.setattr(modal, "current_function_call_id", job.get)
    monkeypatch.setattr("embedding.on_modal.driver.is_over", lambda job: False)
    map_all, answers = containers.starmap, []

    def meanwhile(calls: AsyncIterator[Any], *, order_outputs: bool) -> Iterator[Any]:
        """While the first job runs, a second comes, of another input."""
        for number, answer in enumerate(map_all(calls, order_outputs=order_outputs)):
            if number == 1:
                answers.append(in_job("fc-2", other))
            yield answer

    def in_job(name: str, address: Path) -> Any:
        def embed() -> Any:
            job.set(name)
            return on_disk.embed_corpus.local(str(address), "there", {"shard_chars": 800})

        return copy_context().run(embed)

    containers.starmap = meanwhile
    answers.append(in_job("fc-1", papers))

    assert answers[0] == (
        False,
        "the job fc-1 is writing to there. Wait for it, cancel it, or choose another --output.",
    )
    assert answers[1][0], answers[1][1]
    assert "60 documents" in answers[1][1]


class Steps:
    """Ends the driver at one step of all that it does outside of itself, as where its container is taken away."""

    def __init__(self, last: int) -> None:
        self.left = last

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise SystemExit

    commit = reload = step


class Killed(Method):
    """A method whose driver may go before a call, and after it, untold."""

    def __init__(self, real: Method, steps: Steps) -> None:
        self.real, self.steps = real, steps

    def remote(self) -> Any:
        self.steps.step()
        return self.real.remote()

    def starmap(self, calls: AsyncIterator[Any], *, order_outputs: bool) -> Iterator[Any]:
        for arguments in asyncio.run(collected(calls)):
            self.steps.step()
            answer = self.real._call(*arguments)
            self.steps.step()
            yield answer


def test_a_driver_that_goes_at_any_step_is_replaced_and_the_files_are_all_there_once(
    on_disk: ModuleType, containers: Method, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    papers = write_jsonl(tmp_path / "papers.jsonl", [{"text": text} for text in made_texts(12)])
    describe, copy, bucket, board = (
        on_disk.Corpus(precision="auto").describe,
        shutil.copyfile,
        tmp_path / "b",
        Entries(),
    )
    monkeypatch.setattr(modal, "current_function_call_id", lambda: "fc-1")

    def drive(name: str, last: int) -> tuple[bool, str]:
        steps = Steps(last)

        def copy_or_go(source: Path, target: Path) -> None:
            steps.step()
            target.write_bytes(source.read_bytes()[:7])
            steps.step()
            copy(source, target)

        monkeypatch.setattr(publish.shutil, "copyfile", copy_or_go)
        workers = SimpleNamespace(describe=Killed(describe, steps), embed=Killed(containers, steps))
        driver = Driver(on_disk.CHOICES, lambda precision: workers, steps, tmp_path, tmp_path, bucket, board)
        return driver.run(str(papers), name, {"shard_chars": 800}, 100, f"bucket://{name}", {})

    assert drive("whole", 0)[0]
    whole = files_under(tmp_path / "whole")
    for last in range(1, 100):
        try:
            drive(f"at-{last}", last)
        except SystemExit:
            well, words = drive(f"at-{last}", 0)
            assert well, words
            assert files_under(tmp_path / f"at-{last}") == files_under(bucket / f"at-{last}") == whole, last
        else:
            break

    assert last > 2 * len(whole)  # so that it went at each copy, too


def test_of_two_jobs_with_one_destination_the_second_is_told_whose_it_is(
    on_disk: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Entries()
    claim(board, "bucket://papers", "fc-1", lambda job: False)
    monkeypatch.setattr(modal, "current_function_call_id", lambda: "fc-2")
    monkeypatch.setattr("embedding.on_modal.driver.is_over", lambda job: False)
    driver = Driver(on_disk.CHOICES, None, Steps(0), tmp_path, tmp_path, tmp_path, board)

    well, words = driver.run("papers.jsonl", "mine", {}, 100, "bucket://papers", {})

    assert not well
    assert words == "the job fc-1 is writing to bucket://papers. Wait for it, cancel it, or choose another --to."


def test_a_job_that_counts_on_another_model_is_refused(
    on_disk: ModuleType, papers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    well, words = on_disk.embed_corpus.local(str(papers), "there", model={"MODEL_ID": "me/other"})

    assert not well
    assert "not me/other. Deploy it anew" in words

    monkeypatch.delenv("MODEL_ID")  # an app of the default model declares none
    monkeypatch.delenv("PRECISION")
    for name, value in (("MODEL_ID", "me/other"), ("MODEL_REVISION", "v2"), ("PRECISION", "int8")):
        well, words = on_disk.embed_corpus.local(str(papers), "there", model={name: value})
        assert not well
        assert f"not {value}. Deploy it anew, or leave {name} out." in words


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"address": None}, "address is None, and must be a string"),
        ({"address": " "}, "address is ' '"),
        ({"address": "../papers.jsonl"}, "must not lead out"),
        ({"address": "gopher://host/papers"}, "this INPUT can't be read"),
        ({"output": 7}, "output is 7, and must be a string"),
        ({"output": "/vectors"}, "must be the name of a folder"),
        ({"options": {"text_colum": "abstract"}}, "options has 'text_colum'. There are text_column,"),
        ({"options": {"vector_format": "float8"}}, "VECTOR_FORMAT: "),
        ({"options": {"shard_chars": "many"}}, "SHARD_CHARS: "),
        ({"options": {7: 7}}, "options has 7"),
        ({"options": ["text"]}, "options must be a dict, not of type list"),
        ({"containers": 0}, "containers is 0, and must be a whole number"),
        ({"containers": -1}, "containers is -1"),
        ({"containers": "ten"}, "containers is 'ten'"),
        ({"containers": True}, "containers is True"),
        ({"to": 7}, "to is 7"),
        ({"to": "bucket://x"}, "this app has no bucket"),
        ({"model": {"HF_TOKEN": "x"}}, "model has 'HF_TOKEN'. There are MODEL_ID, MODEL_REVISION, ENGINE, PRECISION"),
        ({"model": "me/model"}, "model must be a dict"),
    ],
)
def test_a_wrong_call_from_python_is_answered_in_words_and_not_tried_again(
    on_disk: ModuleType, papers: Path, arguments: dict[str, Any], said: str
) -> None:
    well, words = on_disk.embed_corpus.local(**{"address": str(papers), "output": "there", **arguments})

    assert not well
    assert said in words


@pytest.mark.usefixtures("containers")
def test_a_folder_inside_another_jobs_is_refused(on_disk: ModuleType, papers: Path) -> None:
    assert on_disk.embed_corpus.local(str(papers), "there")[0]

    for output in ("there/shards", "there/shards/mine"):
        well, words = on_disk.embed_corpus.local(str(papers), output)
        assert not well
        assert f"--output {output} lies in there, which holds the vectors of a job" in words


@pytest.mark.usefixtures("containers")
def test_a_folder_of_something_else_is_left_as_it_is(on_disk: ModuleType, tmp_path: Path, papers: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("mine")

    well, words = on_disk.embed_corpus.local(str(papers), "thesis")

    assert not well
    assert "is not empty, and holds no vectors" in words
    assert files_under(tmp_path / "thesis") == {"chapter.txt": b"mine"}


@pytest.mark.parametrize("error", [TimeoutError("hub"), ConnectionResetError(), modal.exception.ServiceError("down")])
def test_what_ends_a_job_is_of_a_class_that_every_caller_has_and_none_takes_for_a_wait(
    on_disk: ModuleType, papers: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr("embedding.on_modal.driver.open_and_describe", fail)

    with pytest.raises(RuntimeError, match=rf"the job failed \({type(error).__name__}\)") as raised:
        on_disk.embed_corpus.local(str(papers), "there")

    assert type(raised.value) is RuntimeError


def test_an_input_that_can_not_be_read_is_no_reason_to_try_again(on_disk: ModuleType, tmp_path: Path) -> None:
    well, words = on_disk.embed_corpus.local(str(tmp_path / "none.jsonl"), "out", {}, containers=1)

    assert not well
    assert "none.jsonl" in words


@pytest.mark.parametrize("output", ["/home/me/vectors", "../vectors", "a/../../b", "."])
def test_an_output_that_is_not_on_the_volume_is_refused(modal_app: Loader, output: str) -> None:
    app = modal_app()

    with pytest.raises(SystemExit, match="must be the name of a folder"):
        app.main.info.raw_f("papers.parquet", output)


def test_torch_without_a_card_keeps_torch_and_the_weights(modal_app: Loader) -> None:
    app = modal_app(ENGINE="torch")

    assert "rm -rf" not in app.PREPARE
    assert "PRECISION" not in app.CHOICES.model
