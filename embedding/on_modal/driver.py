"""The container that hands the shards of a corpus to others, and what it does when it is not the first for its job."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import modal

from embedding import corpus
from embedding.corpus import CorpusError, Job, Shard, ShardReport
from embedding.corpus.words import describe_result, open_and_describe
from embedding.model import ModelUnavailable
from embedding.on_modal import jobs, prices
from embedding.on_modal.choices import Choices
from embedding.settings import CorpusSettings, Settings, SettingsError

LOOK_AGAIN = 0.02
CORES, MEMORY_MB = 2.0, 2048
SHARDS_AHEAD = 4  # of a container: handed out and not answered


@dataclass(frozen=True)
class Driver:
    """What a job needs of its app: the class that embeds, the volumes as they are mounted, and the board of jobs."""

    choices: Choices
    workers: Any
    vectors: modal.Volume
    outputs: Path
    inputs: Path
    bucket: Path | None
    board: jobs.Entries

    def run(
        self,
        address: str,
        output: str,
        options: Mapping[str, Any],
        containers: int,
        to: str | None,
        model: Mapping[str, str],
    ) -> tuple[bool, str]:
        """Whether the job went well, and words for that. What it raises may pass when Modal tries again."""
        job = modal.current_function_call_id()  # none outside of Modal, where there is no other job
        try:
            check_model(model)
            address = jobs.located(address, self.inputs, self.bucket)
            to = jobs.checked_destination(to, self.bucket is not None)
            output = jobs.checked_output(output)
            if job and (other := jobs.claim(self.board, output, job, is_over)):
                raise jobs.JobError(
                    f"the job {other} is writing to {output}. Wait for it, cancel it, or choose another --output."
                )
            words = self._embed(address, output, options, SHARDS_AHEAD * containers, self._status(job))
            if to:
                words += "\n" + jobs.publish(self.outputs / output, to, self.bucket, os.environ.get("HF_TOKEN"))
        except (CorpusError, ModelUnavailable, SettingsError, jobs.JobError) as error:
            return False, str(error)  # to try again would change nothing
        return True, words

    def _embed(self, address: str, output: str, options: Mapping[str, Any], ahead: int, status: jobs.Status) -> str:
        """What the job came to, in words. At most `ahead` shards are handed out and not answered."""
        folder = self.outputs / output
        settings, wanted = Settings.read(), CorpusSettings.read(**options)
        source = open_and_describe(address, settings.hub_token, wanted)
        settings = corpus.as_recorded(settings, corpus.recorded(folder))
        model = self.workers(precision=settings.precision).describe.remote()
        workers = self.workers(precision=model.precision)
        progress = corpus.Progress()

        def in_containers(job: Job, shards: Iterator[Shard]) -> Iterator[ShardReport]:
            self.vectors.commit()  # the folder, for the containers to write to
            calls = ((job, shard, folder / corpus.SHARDS) for shard in shards)
            room = threading.Semaphore(ahead)
            for report, container, seconds in workers.embed.starmap(bounded(calls, room), order_outputs=False):
                room.release()
                status.worked(container, seconds)
                yield report
                status.say(progress.line(progress.seconds))
            self.vectors.reload()

        summary = corpus.embed_corpus(source, folder, wanted, model, in_containers, progress=progress)
        self.vectors.commit()
        return f"{describe_result(summary, output, progress)}\n{status.cost}."

    def _status(self, job: str | None) -> jobs.Status:
        choices = self.choices
        worker = prices.dollars_a_second(
            choices.cpu_cores, (choices.memory_mb or 0) / 1024, choices.gpu, choices.region
        )
        driver = prices.dollars_a_second(CORES, MEMORY_MB / 1024)
        return jobs.Status(self.board if job else None, job or "", worker, driver or 0.0)


def check_model(counted_on: Mapping[str, str]) -> None:
    """Raise JobError where this container's variables are not those: another model makes other vectors."""
    for name, value in counted_on.items():
        here = os.environ.get(name, value)
        if here != value:
            raise jobs.JobError(
                f"the deployed app has {name}={here}, not {value}. Deploy it anew, or leave {name} out."
            )


def is_over(job: str) -> bool:
    """Whether the job with that id has ended, well or not. Raises where Modal can't be asked."""
    try:
        modal.FunctionCall.from_id(job).get(timeout=0)
    except TimeoutError:
        return False
    except (modal.exception.ConnectionError, modal.exception.ServiceError):
        raise
    except Exception:
        return True
    return True


async def bounded(items: Iterable[Any], room: threading.Semaphore) -> AsyncIterator[Any]:
    """`items`, each once there is `room` for it. Modal's map reads them on the loop by which its answers come in."""
    for item in items:
        while not room.acquire(blocking=False):
            await asyncio.sleep(LOOK_AGAIN)
        yield item
