"""What may be chosen at `modal deploy`, checked before anything is built.

It needs the standard library alone, since the machine that deploys may have no other package than modal.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from embedding.on_modal.local_model import NoModel, find_local_model, place_in_image
from embedding.on_modal.variables import (
    BUCKET,
    BYTES,
    DOMAIN,
    HTTPS,
    LABEL,
    NAME,
    ORIGIN,
    REGION,
    SECRET,
    VOLUME,
    auto_or,
    gpus,
    listed,
    megabytes,
    number,
    one_line,
    one_of,
    switch,
    task,
    whole,
)

WITHOUT_BFLOAT16 = "T4"
HTTP_SECONDS = 150  # after so long Modal answers an HTTP request itself, with a 303
ANSWER_SECONDS = 5  # between the service's deadline and the platform's, so that the refusal is sent
MOST_MEMORY = 1_000_000  # megabytes: far beyond Modal's own limit, which Modal names

# What the default limit of memory was measured with, in megabytes (docs/modal.md, "What it costs"), and what a byte of
# bodies took there: 872 MB more than at rest for 64 bodies of 2 MB, in int8, the longest text included.
MEASURED_CACHE, MEASURED_BODIES, BODY_FACTOR = 64, 128, 7


class ChoiceError(Exception):
    """A variable has a value that can't be deployed; the message names it in one line."""


# Options of embedding/settings.py, which a container reads from its environment.
SERVICE: Mapping[str, Callable[[str], Any]] = {
    "MAX_CLIENT_BATCH": whole(1),
    "MAX_BATCH_TOKENS": whole(1),
    "MAX_CONCURRENT_REQUESTS": whole(1),
    "MAX_QUEUE_TOKENS": whole(1),
    "MAX_BODY_BYTES": whole(1),
    "REQUEST_TIMEOUT": number(1, HTTP_SECONDS - ANSWER_SECONDS, "seconds"),
    "GRACE_PERIOD": whole(0, 30),
    "CACHE_SIZE": BYTES,
    "LOG_LEVEL": one_of("DEBUG", "INFO", "WARNING", "ERROR"),
    "LOG_FORMAT": one_of("plain", "json"),
    "METRICS_OPEN": switch,
    "SERVED_MODEL_NAME": one_line,
    "DEFAULT_TASK": task,
    "DEFAULT_DIMENSIONS": whole(1),
    "ACCEPT_TOKEN_IDS": switch,
    "CORS_ORIGINS": listed(ORIGIN),
}


def variable(default: Any, read: Callable[[str], Any]) -> Any:
    """A field whose name in capitals is a variable."""
    return field(default=default, metadata={"read": read})


@dataclass(frozen=True)
class Choices:
    """What one deploy asks for. The table in docs/modal.md says what each variable is for.

    A field that is None by default gets a value in `read` that depends on the others, or stays as it is: Modal's own.
    """

    app_name: str = variable("embedding", NAME)
    model_id: str | None = variable(None, one_line)
    model_revision: str | None = variable(None, one_line)
    engine: str | None = variable(None, auto_or(one_of("onnx", "torch")))
    precision: str | None = variable(None, auto_or(one_of("int8", "float32", "bfloat16")))
    gpu: tuple[str, ...] = variable((), gpus)
    cpu_cores: float = variable(2.0, number(0.125, 64, "physical cores"))
    threads: int | None = variable(None, auto_or(whole(1, 128)))
    memory_mb: int | None = variable(None, whole(256, MOST_MEMORY))
    memory_limit_mb: int | None = variable(None, whole(256, MOST_MEMORY))
    min_containers: int = variable(0, whole(0))
    max_containers: int = variable(20, whole(1))
    buffer_containers: int | None = variable(None, whole(0))
    scaledown_seconds: int = variable(300, whole(2, 3600))
    target_requests: int = variable(16, whole(1))
    max_requests: int = variable(64, whole(1))
    request_seconds: int = variable(120, whole(10, HTTP_SECONDS))
    start_seconds: int = variable(300, whole(10, 3600))
    snapshot: bool | None = variable(None, switch)
    proxy_auth: bool = variable(False, switch)
    custom_domain: tuple[str, ...] = variable((), listed(DOMAIN))
    label: str | None = variable(None, LABEL)
    region: tuple[str, ...] = variable((), listed(REGION))
    server: bool = variable(False, switch)
    routing_region: str | None = variable(None, REGION)
    corpus_containers: int | None = variable(None, whole(1))
    input_volume: str | None = variable(None, VOLUME)
    output_volume: str | None = variable(None, VOLUME)
    bucket: str | None = variable(None, BUCKET)
    bucket_endpoint: str | None = variable(None, HTTPS)
    bucket_secret: str | None = variable(None, SECRET)
    service: Mapping[str, str] = field(default_factory=dict)
    """Options of the service, by name."""

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Self:
        """The choices in `given`, variables by name. Raises ChoiceError."""
        readers = {each.name.upper(): each.metadata["read"] for each in fields(cls) if each.metadata}
        values = {name: _value(name, read, given) for name, read in readers.items() if given.get(name, "").strip()}
        service = {name: _text(name, given) for name in SERVICE if given.get(name, "").strip()}
        choices = cls(**{name.lower(): value for name, value in values.items()}, service=service)._completed()
        choices._check()
        return choices

    def _completed(self) -> Self:
        """With the values that depend on others."""
        card = bool(self.gpu)
        memory = self.memory_mb or (8192 if card else 2048 if self.engine == "torch" else 1536)
        deadline = min(60, self.request_seconds - ANSWER_SECONDS)
        requests = {"REQUEST_TIMEOUT": f"{deadline}", "MAX_CONCURRENT_REQUESTS": f"{self.max_requests}"}
        return replace(
            self,
            engine=self.engine or ("torch" if card else "onnx"),
            precision=self.precision or (None if not card else "float32" if self._lacks_bfloat16 else "bfloat16"),
            threads=self.threads or math.ceil(self.cpu_cores),
            memory_mb=memory,
            memory_limit_mb=self.memory_limit_mb or memory * 4 // 3 + self._beyond_measured,
            snapshot=not card if self.snapshot is None else self.snapshot,
            corpus_containers=self.corpus_containers or (10 if card else 100),
            input_volume=self.input_volume or f"{self.app_name}-inputs",
            output_volume=self.output_volume or f"{self.app_name}-vectors",
            service={**requests, **self.service},
        )

    def _check(self) -> None:
        """Raise ChoiceError where two variables don't go together."""
        service = self.service
        refuse(
            self.engine == "onnx" and bool(self.gpu),
            f"ENGINE is 'onnx', which computes on the CPU: leave out GPU={','.join(self.gpu)}, or set ENGINE=torch.",
        )
        refuse(
            self.engine == "onnx" and self.precision == "bfloat16",
            "PRECISION is 'bfloat16', which the onnx engine does not have: set ENGINE=torch.",
        )
        refuse(
            self.engine == "torch" and self.precision == "int8",
            "PRECISION is 'int8', which the torch engine does not have: set float32 or bfloat16.",
        )
        refuse(
            self.precision == "bfloat16" and self._lacks_bfloat16,
            "PRECISION is 'bfloat16', which a T4 does not have: set PRECISION=float32, or take GPU=L4.",
        )
        refuse(
            (self.memory_limit_mb or 0) < (self.memory_mb or 0),
            f"MEMORY_LIMIT_MB is {self.memory_limit_mb}, and must not be below MEMORY_MB, {self.memory_mb}.",
        )
        refuse(
            (self.memory_limit_mb or 0) > MOST_MEMORY,
            f"MAX_REQUESTS, MAX_BODY_BYTES and CACHE_SIZE may take {self.memory_limit_mb} MB together: lower them.",
        )
        refuse(
            megabytes(service.get("CACHE_SIZE", "0")) >= (self.memory_limit_mb or 0),
            f"CACHE_SIZE is {service.get('CACHE_SIZE')}, and must be below MEMORY_LIMIT_MB, {self.memory_limit_mb}: "
            "a container would be stopped as it fills.",
        )
        refuse(
            self.min_containers > self.max_containers,
            f"MIN_CONTAINERS is {self.min_containers}, and must not be above MAX_CONTAINERS, {self.max_containers}.",
        )
        refuse(
            self.target_requests > self.max_requests,
            f"MAX_REQUESTS is {self.max_requests}, and must not be below TARGET_REQUESTS, {self.target_requests}.",
        )
        refuse(
            int(service["MAX_CONCURRENT_REQUESTS"]) < self.max_requests,
            f"MAX_CONCURRENT_REQUESTS is {service['MAX_CONCURRENT_REQUESTS']}, and must not be below MAX_REQUESTS, "
            f"{self.max_requests}: a container would refuse what Modal gives it.",
        )
        refuse(
            float(service["REQUEST_TIMEOUT"]) > self.request_seconds - ANSWER_SECONDS,
            f"REQUEST_TIMEOUT is {service['REQUEST_TIMEOUT']}, and must be {ANSWER_SECONDS} s below REQUEST_SECONDS, "
            f"{self.request_seconds}: Modal would cut requests that the service has admitted.",
        )
        refuse(
            self.input_volume == self.output_volume,
            f"INPUT_VOLUME and OUTPUT_VOLUME are both {self.input_volume!r}, which Modal mounts in one place only: "
            "choose two.",
        )
        refuse(
            not self.bucket and bool(self.bucket_endpoint or self.bucket_secret),
            "BUCKET is not set, and BUCKET_ENDPOINT and BUCKET_SECRET are of no use without it.",
        )
        refuse(
            not self.server and self.routing_region is not None,
            "ROUTING_REGION is where requests enter with SERVER=1: set that too, or use REGION.",
        )

    @property
    def _beyond_measured(self) -> int:
        """Megabytes that a larger cache, more requests or larger bodies may take than were measured."""
        requests = int(self.service.get("MAX_CONCURRENT_REQUESTS", self.max_requests))
        bodies = requests * int(self.service.get("MAX_BODY_BYTES", 2_000_000)) / 1e6
        cache = megabytes(self.service.get("CACHE_SIZE", "64MB"))
        return math.ceil(max(0.0, cache - MEASURED_CACHE) + BODY_FACTOR * max(0.0, bodies - MEASURED_BODIES))

    @property
    def _lacks_bfloat16(self) -> bool:
        return WITHOUT_BFLOAT16 in self.gpu

    @property
    def local_model(self) -> Path | None:
        """The folder that MODEL_ID names on the machine that deploys; None for a model of the hub.

        Raises ChoiceError where it is a path to no model.
        """
        try:
            return find_local_model(self.model_id) if self.model_id else None
        except NoModel as error:
            raise ChoiceError(f"MODEL_ID is {self.model_id!r}, {error}.") from None

    @property
    def grace_seconds(self) -> int:
        """How long a server that is told to stop may go on: what the service takes at most, and a little."""
        return int(self.service.get("GRACE_PERIOD", 30)) + ANSWER_SECONDS

    @property
    def board(self) -> str:
        """The name of the modal.Dict of jobs: that of the volume, which the jobs of several apps may share."""
        return f"{self.output_volume}-jobs"

    @property
    def model(self) -> dict[str, str]:
        """The variables that decide which vectors are served, for the image. A local folder goes by its place there."""
        local = self.local_model
        chosen = {
            "MODEL_ID": place_in_image(local) if local else self.model_id,
            "MODEL_REVISION": self.model_revision,
            "ENGINE": self.engine,
            "PRECISION": self.precision,
        }
        return {name: value for name, value in chosen.items() if value}

    @property
    def limits(self) -> dict[str, str]:
        """The other variables of a container: what the service reads, and how many threads any library may start.

        A container sees all processors of its host, so each pool is told what was asked for.
        """
        pools = ("THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
        return {**self.service, **dict.fromkeys(pools, str(self.threads))}


def refuse(wrong: bool, words: str) -> None:
    """Raise ChoiceError with these words where something is wrong."""
    if wrong:
        raise ChoiceError(words)


def _value(name: str, read: Callable[[str], Any], given: Mapping[str, str]) -> Any:
    text = given[name].strip()
    try:
        return read(text)
    except ValueError as error:
        raise ChoiceError(f"{name} is {text!r}, and must be {error}.") from None


def _text(name: str, given: Mapping[str, str]) -> str:
    """An option of the service as the service reads it, which is picky about capitals."""
    value = _value(name, SERVICE[name], given)
    return value if isinstance(value, str) else given[name].strip()


def known() -> list[str]:
    """The names of all variables."""
    return [each.name.upper() for each in fields(Choices) if each.metadata] + list(SERVICE)
