"""The container that hands the shards of a corpus to others, and what it does when it is not the first for its job."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import modal

from embedding import corpus
from embedding.corpus import CorpusError, Input, Job, Model, Shard, ShardReport, estimate
from embedding.corpus.words import describe_input, describe_result, open_and_describe, too_many_rejects
from embedding.model import ModelUnavailable
from embedding.on_modal import jobs, prices
from embedding.on_modal.arguments import check_arguments, check_model
from embedding.on_modal.choices import Choices
from embedding.on_modal.publish import Place, check, place_of, publish
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
        """Whether the job went well, and words for that, which are in the log, too: nobody may wait for the answer.

        What it raises may pass when Modal tries again.
        """
        job = modal.current_function_call_id()  # none outside of Modal, where there is no other job
        try:
            check_arguments(address, output, options, containers, to, model)
            check_model(model, Settings.read())
            address = jobs.located(address, self.inputs, self.bucket)
            to = jobs.checked_destination(to, self.bucket is not None)
            output = jobs.checked_output(output)
            check_apart(output, self.outputs)
            for option, taken in (("--output", output), ("--to", to)):
                if job and taken and (other := jobs.claim(self.board, taken, job, is_over)):
                    raise jobs.JobError(
                        f"the job {other} is writing to {taken}. Wait for it, cancel it, or choose another {option}."
                    )
            place = place_of(to, self.bucket, os.environ.get("HF_TOKEN")) if to else None
            status = self._status(job)
            well, words = self._embed(address, output, options, containers, status, place)
            if place and well and not options.get("dry_run"):
                words += "\n" + publish(place, self.outputs / output)
        except (CorpusError, ModelUnavailable, SettingsError, jobs.JobError) as error:
            print(f"error: {error}", flush=True)
            return False, str(error)  # to try again would change nothing
        except Exception as error:
            # Who waits for this call may lack the class of the error, and takes a TimeoutError for "not yet", or an
            # error of Modal's for one of its own question.
            raise RuntimeError(f"the job failed ({type(error).__name__}); its log says where") from error
        status.end(words)
        return well, words

    def _embed(
        self,
        address: str,
        output: str,
        options: Mapping[str, Any],
        containers: int,
        status: jobs.Status,
        place: Place | None,
    ) -> tuple[bool, str]:
        """Whether enough of the rows could be embedded, and what the job came to, in words."""
        folder = self.outputs / output
        status.say("The job has begun.")
        wanted = CorpusSettings.read(**{name: value for name, value in options.items() if value is not None})
        settings = Settings.read()
        input = open_and_describe(address, folder, wanted, settings.hub_token)
        settings = corpus.as_recorded(settings, corpus.recorded(folder))
        pool = self.workers
        if containers != self.choices.corpus_containers:
            pool = pool.with_options(max_containers=containers)
        model = pool(precision=settings.precision).describe.remote()
        workers = pool(precision=model.precision)
        if wanted.dry_run:
            return (
                True,
                f"{describe_input(input)}\n{self._estimated(workers, model, input, folder, containers, status)}",
            )
        progress = corpus.Progress()

        def in_containers(job: Job, shards: Iterator[Shard]) -> Iterator[ShardReport]:
            if place:
                check(place, folder)  # now, and not when all is paid for
            self.vectors.commit()  # the folder, for the containers to write to
            calls = ((job, shard, folder / corpus.SHARDS) for shard in shards)
            room = threading.Semaphore(SHARDS_AHEAD * containers)
            for report, container, seconds in workers.embed.starmap(bounded(calls, room), order_outputs=False):
                room.release()
                status.worked(container, seconds)
                yield report
                status.say(progress.line(progress.seconds))
            self.vectors.reload()

        summary = corpus.embed_corpus(input, folder, model, in_containers, progress=progress)
        self.vectors.commit()
        words = f"{describe_result(summary, output, progress)}\n{status.cost}."
        if summary.is_poor and not wanted.allow_rejects:
            return False, f"{words}\n{too_many_rejects(summary)}"
        return True, words

    def _estimated(
        self, workers: Any, model: Model, input: Input, folder: Path, containers: int, status: jobs.Status
    ) -> str:
        """What the job would take and cost, in words, by the rate at which one container embeds its first texts."""
        job = corpus.make_job(input.source.name, model, input.survey.columns, input.settings)
        documents = estimate.sample(input, job)
        if not documents:
            return "no row can be embedded; nothing was written."
        speed = workers.measure.remote(job, documents)
        left = estimate.work_left(input, folder, job, documents)
        if left is None:
            return f"{speed} in a container; the rows are not counted, so how long it takes is not known."
        at_once = min(containers, -(-left // job.shard_chars)) or 1  # a container embeds a shard at a time
        price = status.price(estimate.work_seconds(left, speed), at_once)
        return f"{speed} in a container: {estimate.in_time(left, speed, at_once)} on {at_once} containers, {price}."

    def _status(self, job: str | None) -> jobs.Status:
        choices = self.choices
        worker = prices.dollars_a_second(
            choices.cpu_cores, (choices.memory_mb or 0) / 1024, choices.gpu, choices.region
        )
        driver = prices.dollars_a_second(CORES, MEMORY_MB / 1024)
        return jobs.Status(self.board if job else None, job or "", worker, driver or 0.0)


def check_apart(output: str, outputs: Path) -> None:
    """Raise JobError where `output` lies in a folder of vectors: who reads that one would find these in it."""
    for parent in PurePosixPath(output).parents:
        if parent.name and corpus.recorded(outputs / parent):
            raise jobs.JobError(
                f"--output {output} lies in {parent}, which holds the vectors of a job. Choose another."
            )


# How Modal says that a call has ended without an answer, or so long ago that it has forgotten it.
ENDED = (
    modal.exception.ExecutionError,
    modal.exception.FunctionTimeoutError,
    modal.exception.InternalFailure,
    modal.exception.NotFoundError,
    modal.exception.OutputExpiredError,
    modal.exception.RemoteError,
)


def is_over(job: str) -> bool:
    """Whether the job with that id has ended, well or not. Raises where Modal can't be asked."""
    try:
        modal.FunctionCall.from_id(job).get(timeout=0)
    except TimeoutError:
        return False
    except ENDED:
        return True
    except modal.exception.Error:
        raise
    except Exception:
        return True  # what the job raised
    return True


async def bounded(items: Iterable[Any], room: threading.Semaphore) -> AsyncIterator[Any]:
    """`items`, each once there is `room` for it. Modal's map reads them on the loop by which its answers come in."""
    for item in items:
        while not room.acquire(blocking=False):
            await asyncio.sleep(LOOK_AGAIN)
        yield item
