"""The app inside Modal's own container runtime, against the backend of Modal's own test suite.

Run beside a harness that deploys `modal_app` there and brings `deployed`, `servicer`, `web` and the container helpers
(see docs/modal.md); it is no part of the ordinary run, which has no such backend.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid

import modal
import numpy as np
import pytest
from modal._serialization import serialize_data_format
from modal_proto import api_pb2
from test.conftest import blob_server_factory, servicer_factory
from test.container_test_helpers import (
    _get_inputs,
    _run_container_auto,
    _run_container_process_auto,
    _unwrap_exception,
    _unwrap_generator,
    _unwrap_scalar,
)
from test.helpers import deploy_app_externally
from test_modal_runtime import deployed, names, web

from embedding.on_modal.choices import Choices

__all__ = ["deployed"]

TOKEN = os.environ["auth_token"]  # noqa: SIM112
DEFAULTS = Choices.read({})


def defined(deployed, name):
    (function,) = [function for key, function in names(deployed).items() if key.startswith(name)]
    return function


def ask(servicer, deployed, path, *, body=b"", headers=(), snapshot=False):
    """One request in a new container: the status, and the body."""
    sent = [*headers, ("content-type", "application/json"), ("content-length", str(len(body)))]
    inputs = web(path, "POST" if body else "GET", sent, name="web")
    message = {"type": "http.request", "body": body, "more_body": False}
    chunk = api_pb2.DataChunk(
        data_format=api_pb2.DATA_FORMAT_ASGI, data=serialize_data_format(message, api_pb2.DATA_FORMAT_ASGI), index=1
    )
    servicer.fc_data_in["fc-123"].put_nowait(chunk)
    result = _run_container_auto(servicer, "Embedding.*", deployed, inputs=inputs, is_checkpointing_function=snapshot)
    items, error = _unwrap_generator(result)
    assert error is None, error
    return items[0]["status"], b"".join(i.get("body", b"") for i in items if i["type"] == "http.response.body")


def test_the_class_declares_its_size_and_how_it_scales(deployed):
    function = defined(deployed, "Embedding")

    assert function.is_class
    assert function.checkpointing_enabled
    assert (function.max_concurrent_inputs, function.target_concurrent_inputs) == (64, 16)
    resources = function.resources
    assert (resources.milli_cpu, resources.milli_cpu_max) == (2000, 2000)
    assert (resources.memory_mb, resources.memory_mb_max) == (DEFAULTS.memory_mb, DEFAULTS.memory_limit_mb)
    assert function.resources.gpu_config.gpu_type == ""
    assert function.autoscaler_settings.scaledown_window == 300
    assert (function.autoscaler_settings.min_containers, function.autoscaler_settings.max_containers) == (0, 20)
    assert (function.timeout_secs, function.startup_timeout_secs) == (120, 300)
    assert len(function.secret_ids) == 1
    assert "embed" in function.method_definitions


def test_the_corpus_has_containers_and_a_driver_of_its_own(deployed):
    worker, driver = defined(deployed, "Corpus"), defined(deployed, "embed_corpus")

    assert worker.autoscaler_settings.max_containers == 100
    assert not worker.checkpointing_enabled
    assert (worker.resources.milli_cpu, worker.resources.milli_cpu_max) == (2000, 2000)
    assert worker.resources.memory_mb_max == DEFAULTS.memory_limit_mb
    assert len(worker.secret_ids) == 0
    assert [mount.mount_path for mount in worker.volume_mounts] == ["/vectors"]
    assert sorted(mount.mount_path for mount in driver.volume_mounts) == ["/inputs", "/vectors"]
    assert driver.timeout_secs == 24 * 60 * 60
    assert driver.retry_policy.retries == 10
    assert driver.resources.milli_cpu_max == 2000


def first_rank(function):
    """With a card a function is declared once for each that it may have."""
    return function.ranked_functions[0].function if hasattr(function, "ranked_functions") else function


def deploy(**variables):
    """The functions of the app by name, and the commands of its images, as deployed with these variables."""

    async def deploy_there(blob_server, credentials):
        async with servicer_factory(blob_server, credentials) as servicer:
            env = {"MODEL_ID": os.environ["MODEL_ID"], **variables}
            deploy_app_externally(servicer, credentials, "modal_app", "app", env=env)
            commands = [line for image in servicer.images.values() for line in image.dockerfile_commands]
            functions = map(first_rank, servicer.app_functions.values())
            return {function.function_name: function for function in functions}, commands

    with blob_server_factory() as blob_server:
        credentials = ("test-ak-" + str(uuid.uuid4()), "test-as-" + str(uuid.uuid4()))
        return asyncio.run(deploy_there(blob_server, credentials))


def test_what_is_chosen_is_deployed():
    functions, commands = deploy(
        CPU_CORES="0.5",
        MEMORY_MB="1024",
        MEMORY_LIMIT_MB="2048",
        GPU="L4",
        LABEL="vectors",
        PROXY_AUTH="1",
        REGION="us-east",
        REQUEST_SECONDS="60",
        MAX_CLIENT_BATCH="7",
    )

    resources = functions["Embedding.*"].resources
    assert (resources.milli_cpu, resources.milli_cpu_max) == (500, 500)
    assert (resources.memory_mb, resources.memory_mb_max) == (1024, 2048)
    assert resources.gpu_config.gpu_type == "L4"
    assert functions["Embedding.*"].timeout_secs == 60
    web = functions["Embedding.*"].method_definitions["web"].webhook_config
    assert (web.requested_suffix, web.requires_proxy_auth) == ("vectors", True)
    assert list(functions["Embedding.*"].scheduler_placement.regions) == ["us-east"]
    for name, value in {
        "THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "RAYON_NUM_THREADS": "1",
        "MAX_CLIENT_BATCH": "7",
    }.items():
        assert any(re.search(rf"ENV {name}=.?{value}\b", line) for line in commands), name


def test_a_server_is_deployed_beside_the_class_when_asked_for():
    functions, _ = deploy(SERVER="1", ROUTING_REGION="us-west", PROXY_AUTH="1")

    assert {"Embedding.*", "Corpus.*", "embed_corpus", "Server"} <= set(functions)
    assert functions["Server"].http_config.port == 8000
    assert functions["Server"].resources.milli_cpu_max == 2000


def test_a_bucket_is_mounted_for_the_driver_alone():
    functions, _ = deploy(BUCKET="papers", BUCKET_SECRET="aws")

    assert [mount.mount_path for mount in functions["embed_corpus"].cloud_bucket_mounts] == ["/bucket"]
    assert not functions["Corpus.*"].cloud_bucket_mounts


def call(servicer, deployed, *arguments, **named):
    """`.embed.remote` in a new container."""
    servicer.container_outputs.clear()
    inputs = _get_inputs((arguments, named), method_name="embed")
    return _run_container_auto(servicer, "Embedding.*", deployed, inputs=inputs)


def test_a_call_without_http_gives_numpy_arrays(servicer, deployed):
    many = _unwrap_scalar(call(servicer, deployed, ["one", "two", "one"], task="document"))
    one = _unwrap_scalar(call(servicer, deployed, "one", task="document"))

    assert (many.dtype, many.shape, one.shape) == (np.float32, (3, len(one)), (len(one),))
    assert np.array_equal(many[0], many[2])
    assert np.allclose(many[0], one, atol=1e-6)


def test_a_call_without_http_is_refused_as_a_request_would_be(servicer, deployed):
    error = _unwrap_exception(call(servicer, deployed, ["fine", " "]))

    assert type(error) is ValueError
    assert str(error) == "texts.1: must not be blank"


@pytest.fixture
def volumes(tmp_path, monkeypatch, client):
    """The two volumes, as folders of this machine; and the board of this backend, not of the last container's."""
    import modal_app

    board = modal.Dict.from_name("embedding-vectors-jobs", create_if_missing=True, client=client)
    monkeypatch.setattr(modal_app, "board", board)

    for name in ("VECTORS", "INPUTS"):
        folder = tmp_path / name.lower()
        folder.mkdir()
        monkeypatch.setattr(modal_app, name, folder)
    lines = [json.dumps({"text": f"text number {n} " + "of many words " * (n % 7)}) for n in range(60)]
    (tmp_path / "inputs" / "papers.jsonl").write_text("\n".join(lines))
    return tmp_path


@pytest.fixture
def workers(servicer, deployed):
    """The methods of Corpus, run by the servicer; the names of the shards that were embedded."""
    from embedding.corpus import describe, embed_shard
    from embedding.model import load_engine
    from embedding.settings import Settings

    settings = Settings.read(auth_token="", hf_token="", precision="float32")
    engine, embedded = load_engine(settings), []

    def work(*arguments):
        if not arguments:
            return describe(engine, settings.model_id)
        job, shard, folder = arguments
        embedded.append(shard.name)
        return embed_shard(engine, job, shard, folder), "ta-1", 1.0

    servicer.function_body(work)
    for function_id, function in deployed[0].values():
        servicer.app_functions[function_id] = function
        servicer.function_id_to_definition_id[function_id] = "de-1"
    servicer.n_functions = 100
    return embedded


OPTIONS = {"shard_chars": 800}


def job(servicer, deployed, address="papers.jsonl", output="out"):
    """`embed_corpus.spawn` in a new container: what it returns."""
    servicer.container_outputs.clear()
    inputs = _get_inputs(((address, output, OPTIONS, 2), {}))
    return _unwrap_scalar(_run_container_auto(servicer, "embed_corpus", deployed, inputs=inputs))


def shards(volumes):
    return sorted(path.name for path in (volumes / "vectors" / "out" / "shards").iterdir())


def test_a_job_embeds_each_shard_once(servicer, deployed, volumes, workers):
    well, words = job(servicer, deployed)

    assert well, words
    assert "60 documents" in words
    assert "1 containers, 0.00 container-hours, about $0.00 so far" in words
    assert sorted(workers) == shards(volumes)
    assert len(workers) > 5


def test_a_job_on_the_folder_of_one_that_runs_is_told_whose_it_is_and_goes_on_when_that_is_over(
    servicer, deployed, volumes, workers
):
    import modal_app

    modal_app.board.put("claim of out after ", "fc-other")
    servicer.function_call_inputs["fc-other"] = [((0, "in-1", 0), ((), {}))]
    servicer.function_is_running = True
    refused = job(servicer, deployed)
    servicer.function_is_running = False
    del servicer.function_call_inputs["fc-other"]
    well, words = job(servicer, deployed)

    assert refused[0] is False
    assert refused[1].startswith("the job fc-other is writing to out.")
    assert well, words
    assert sorted(workers) == shards(volumes)


DRIVER = """
import importlib, runpy, sys
from pathlib import Path
found = importlib.import_module
def import_module(name, package=None):
    module = found(name, package)
    if name == "modal_app":
        module.INPUTS, module.VECTORS = Path(sys.argv[1]) / "inputs", Path(sys.argv[1]) / "vectors"
    return module
importlib.import_module = import_module
runpy.run_module("modal._container_entrypoint", run_name="__main__")
"""


def test_a_driver_that_is_killed_is_replaced_and_no_shard_is_twice_or_missing(
    servicer, deployed, volumes, workers, tmp_path, monkeypatch
):
    real, started = subprocess.Popen, []

    def with_folders(command, **options):
        assert command[1:] == ["-m", "modal._container_entrypoint"]
        started.append(real([sys.executable, "-c", DRIVER, str(volumes)], **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", with_folders)
    work, reached = servicer._function_body, threading.Event()

    def work_until_the_fourth(*arguments):
        if len(workers) == 3 and not reached.is_set():
            started[0].send_signal(signal.SIGKILL)
            reached.set()
        return work(*arguments)

    servicer.function_body(work_until_the_fourth)

    def drive():
        inputs = _get_inputs((("papers.jsonl", "out", OPTIONS, 1), {}))
        env = {"MODAL_SERVER_URL": servicer.container_addr}
        return _run_container_process_auto(servicer, tmp_path, "embed_corpus", deployed, inputs=inputs, env=env)

    first = drive()
    first.wait(60)
    assert reached.is_set(), first.stderr.read().decode()
    done_before = len(workers)
    second = drive()
    _, said = second.communicate(timeout=60)

    assert first.returncode == -signal.SIGKILL
    assert 3 <= done_before < len(shards(volumes)), said.decode()
    assert len(workers) == len(set(workers))
    assert sorted(workers) == shards(volumes)
    assert (volumes / "vectors" / "out" / "manifest.json").exists(), said.decode()


@pytest.mark.parametrize("snapshot", [False, True])
def test_a_container_says_what_its_start_took(servicer, deployed, snapshot, capfd):
    status, body = ask(servicer, deployed, "/health", snapshot=snapshot)
    said = capfd.readouterr().out

    assert (status, body) == (200, b"ok")
    assert re.search(r"start: imports [\d.]+ s, load [\d.]+ s, warm-up [\d.]+ s", said)
    with capfd.disabled():
        print(re.search("start: .*", said)[0], "with a snapshot" if snapshot else "without a snapshot")


@pytest.mark.parametrize("snapshot", [False, True])
def test_a_list_gives_vectors_in_its_order(servicer, deployed, snapshot):
    body = json.dumps({"query": ["one", "two", "one"]}).encode()

    status, answer = ask(servicer, deployed, "/predict", body=body, headers=[("x-api-key", TOKEN)], snapshot=snapshot)
    one, two, again = json.loads(answer)

    assert status == 200
    assert one == again != two


def test_a_wrong_token_is_refused(servicer, deployed):
    status, answer = ask(servicer, deployed, "/predict", body=b'{"query": "x"}', headers=[("x-api-key", "wrong")])

    assert status == 401
    assert TOKEN.encode() not in answer


def test_without_a_token_every_answer_says_what_to_create(servicer, deployed, monkeypatch):
    monkeypatch.delenv("auth_token")

    status, answer = ask(servicer, deployed, "/health")

    assert status == 503
    assert b"modal secret create embedding auth_token=YOUR_TOKEN" in answer


def test_the_page_is_served(servicer, deployed):
    status, answer = ask(servicer, deployed, "/")

    assert status == 200
    assert b"<!doctype html>" in answer.lower()


def test_a_container_in_a_process_of_its_own_says_what_its_start_took(servicer, deployed, tmp_path, capfd):
    begun = time.perf_counter()
    with _run_container_process_auto(
        servicer, tmp_path, "Embedding.*", deployed, inputs=[], env={"MODAL_SERVER_URL": servicer.container_addr}
    ) as process:
        said = next(line for line in process.stdout if line.startswith(b"start: "))
        ready = time.perf_counter() - begun

    with capfd.disabled():
        print(f"\nnew process, ready after {ready:.2f} s;", said.decode().strip())


def test_the_map_hands_out_no_more_than_there_is_room_for_and_goes_on(servicer, client):
    from embedding.on_modal.driver import bounded

    app, room, read = modal.App(), threading.Semaphore(2), []
    double = app.function()(servicer.function_body(_double))

    def numbers():
        for number in range(20):
            read.append(number)
            yield (number,)

    with app.run(client=client):
        answers = []
        for answer in double.starmap(bounded(numbers(), room), order_outputs=False):
            answers.append(answer)
            assert len(read) <= len(answers) + 2
            room.release()

    assert sorted(answers) == [2 * number for number in range(20)]


def _double(number):
    return 2 * number


def test_a_call_that_fails_ends_the_map(servicer, client):
    from embedding.on_modal.driver import bounded

    app, room = modal.App(), threading.Semaphore(2)
    fail = app.function()(servicer.function_body(_fail))

    with app.run(client=client), pytest.raises(ZeroDivisionError):
        list(fail.starmap(bounded(((number,) for number in range(20)), room), order_outputs=False))


def _fail(number):
    return number / 0
