"""The app inside Modal's own container runtime, against the backend of Modal's own test suite.

Run beside a harness that deploys `modal_app` there and brings `deployed`, `servicer`, `web` and the container helpers
(see the README, "Deploy to Modal"); it is no part of the ordinary run, which has no such backend.
"""

import json
import os
import re
import threading
import time

import modal
import pytest
from modal._serialization import serialize_data_format
from modal_proto import api_pb2
from test.container_test_helpers import _run_container_auto, _run_container_process_auto, _unwrap_generator
from test_modal_runtime import deployed, names, web

__all__ = ["deployed"]

TOKEN = os.environ["auth_token"]  # noqa: SIM112


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
    assert (resources.memory_mb, resources.memory_mb_max) == (MEMORY_MB, MEMORY_LIMIT_MB)
    assert function.resources.gpu_config.gpu_type == ""
    assert function.autoscaler_settings.scaledown_window == 300
    assert (function.autoscaler_settings.min_containers, function.autoscaler_settings.max_containers) == (0, 20)
    assert (function.timeout_secs, function.startup_timeout_secs) == (120, 300)
    assert len(function.secret_ids) == 1


def test_the_corpus_has_containers_and_a_driver_of_its_own(deployed):
    worker, driver = defined(deployed, "Corpus"), defined(deployed, "embed_corpus")

    assert worker.autoscaler_settings.max_containers == 100
    assert [mount.mount_path for mount in worker.volume_mounts] == ["/vectors"]
    assert sorted(mount.mount_path for mount in driver.volume_mounts) == ["/inputs", "/vectors"]
    assert driver.timeout_secs == 24 * 60 * 60


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
    import modal_app

    app, room, read = modal.App(), threading.Semaphore(2), []
    double = app.function()(servicer.function_body(_double))

    def numbers():
        for number in range(20):
            read.append(number)
            yield (number,)

    with app.run(client=client):
        answers = []
        for answer in double.starmap(modal_app.bounded(numbers(), room), order_outputs=False):
            answers.append(answer)
            assert len(read) <= len(answers) + 2
            room.release()

    assert sorted(answers) == [2 * number for number in range(20)]


def _double(number):
    return 2 * number


def test_a_call_that_fails_ends_the_map(servicer, client):
    import modal_app

    app, room = modal.App(), threading.Semaphore(2)
    fail = app.function()(servicer.function_body(_fail))

    with app.run(client=client), pytest.raises(ZeroDivisionError):
        list(fail.starmap(modal_app.bounded(((number,) for number in range(20)), room), order_outputs=False))


def _fail(number):
    return number / 0
