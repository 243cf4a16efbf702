"""Starts a corpus job from the machine of its user, and follows it. Needs modal and the standard library alone."""

import shlex
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import modal
from modal.config import config

from embedding.on_modal import jobs
from embedding.on_modal.choices import Choices

TELL_SECONDS = 10


def start_job(
    choices: Choices,
    given: Mapping[str, str],
    function: Any,
    app_id: str | None,
    inputs: modal.Volume,
    board: jobs.Entries,
    address: str,
    output: str,
    to: str,
    options: Mapping[str, Any],
) -> None:
    """Start `function`, embed_corpus, say how to watch, cancel and fetch, and follow it. Exits where it goes wrong.

    `app_id` is that of this run, by which its log is found; that of a deployed app is found by its name.
    """
    try:
        if not address.strip():
            raise jobs.JobError("--input is blank.")  # as a path, that would be the folder that this runs in
        output = jobs.checked_output(output)
        to = jobs.checked_destination(to, bool(choices.bucket)) or ""
    except jobs.JobError as error:
        raise SystemExit(f"error: {error}") from None
    local = "://" not in address
    address = upload(inputs, Path(address).expanduser().resolve()) if local else address
    function, deployed = find_lasting(choices.app_name, function)
    stays = deployed or not {"-d", "--detach"}.isdisjoint(sys.argv)
    app = choices.app_name if deployed else app_id or choices.app_name
    model = {name: value for name, value in choices.model.items() if name in given}
    call = function.spawn(address, output, dict(options), choices.corpus_containers, to or None, model)
    print(announce(call.object_id, choices, app, output, stays), flush=True)
    try:
        well, words = follow(call, board)
    except KeyboardInterrupt:
        print(f"The job {call.object_id} {'goes on' if stays else 'ends with this command'}.")
        raise
    if not well:
        raise SystemExit(f"error: {words}")
    print(words)


def upload(inputs: modal.Volume, path: Path) -> str:
    """Put a file or folder on the volume, in a place that only the same contents have; that place.

    So nothing that is there is removed or changed.
    """
    if not path.exists():
        raise SystemExit(f"error: there is no file or folder {path}.")
    place = f"{jobs.digest(path)}/{path.name}"
    with inputs.batch_upload(force=True) as batch:
        if path.is_dir():
            batch.put_directory(path, f"/{place}")
        else:
            batch.put_file(path, f"/{place}")
    return place


def find_lasting(app_name: str, function: Any) -> tuple[Any, bool]:
    """The function of the deployed app, or this run's own where none is deployed; whether it is the deployed one."""
    deployed = modal.Function.from_name(app_name, "embed_corpus")
    try:
        deployed.hydrate()
    except modal.exception.NotFoundError:
        return function, False
    return deployed, True


def announce(job: str, choices: Choices, app: str, output: str, stays: bool) -> str:
    """What to know of a job that has begun. `app` is the name or the id by which its log is found."""
    environment = config.get("environment")
    there = f" --env {environment}" if environment else ""
    call = f"modal.FunctionCall.from_id('{job}')"
    if stays:
        lasts = "It goes on without this machine."
    else:
        lasts = "It ENDS WITH THIS COMMAND. To let it go on, deploy the app first, or use modal run --detach."
    return f"""The job {job} has begun. {lasts}
  watch   modal dict get {choices.board} '{jobs.status_key(job)}'{there}
  wait    python -c "import modal; print({call}.get())"
  log     modal app logs {app} --follow --function-call {job}{there}
  cancel  python -c "import modal; {call}.cancel(terminate_containers=True)"
  fetch   modal volume get {choices.output_volume} {shlex.quote(output)} .{there}    (with --force to fetch it again)"""


def follow(call: Any, board: jobs.Entries) -> tuple[bool, str]:
    """What the job returns. Until then, print how far it is; a machine that is offline for a while asks again."""
    said = None
    while True:
        try:
            well, words = call.get(timeout=TELL_SECONDS)
            return well, words
        except TimeoutError:
            pass
        except (modal.exception.ConnectionError, modal.exception.ServiceError) as error:
            print(f"Modal can't be reached ({type(error).__name__}); the next try is in {TELL_SECONDS} s.", flush=True)
            time.sleep(TELL_SECONDS)
            continue
        with suppress(modal.exception.Error):
            line = board.get(jobs.status_key(call.object_id))
            if line and line != said:
                print(line, flush=True)
                said = line
