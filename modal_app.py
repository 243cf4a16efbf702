"""The Modal home: `modal deploy modal_app.py`. Needs only the package modal where it is deployed from.

From top to bottom: what may be set at deploy time, the image, the class that answers queries, and whole corpora.
"""

import asyncio
import os
import random
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import modal

if TYPE_CHECKING:
    from embedding.corpus import Job, Model, Shard, ShardReport

SECRET = "embedding"
CREATE_SECRET = f"modal secret create {SECRET} auth_token=YOUR_TOKEN HF_TOKEN=hf_…"
HERE = Path(__file__).parent


def variable(name: str, default: int | None) -> int | None:
    """A whole number from the environment of `modal deploy`."""
    given = os.environ.get(name) or ("" if default is None else str(default))
    if given and not given.isdecimal():
        raise SystemExit(f"error: {name} is {given!r}, and must be a whole number.")
    return int(given) if given else None


# The README's table of variables says what each is for. They are read where the app is deployed from: in a container
# they may differ, and nothing that runs there asks for them.
GPU = os.environ.get("GPU") or None
ENGINE = os.environ.get("ENGINE") or ("torch" if GPU else "onnx")
# A snapshot with a GPU is an experiment of Modal's, so there it has to be asked for.
SNAPSHOT = bool(variable("SNAPSHOT", 0 if GPU else 1))
CONTAINER: dict[str, Any] = {
    "gpu": GPU,
    "cpu": variable("CPU_CORES", 2),
    "memory": variable("MEMORY_MB", 8192 if GPU else 1536),
    "startup_timeout": variable("START_SECONDS", 300),
    "enable_memory_snapshot": SNAPSHOT,
    "experimental_options": {"enable_gpu_snapshot": True} if GPU and SNAPSHOT else None,
}
SCALING: dict[str, Any] = {
    "min_containers": variable("MIN_CONTAINERS", 0),
    "max_containers": variable("MAX_CONTAINERS", 20),
    "buffer_containers": variable("BUFFER_CONTAINERS", None),
    "scaledown_window": variable("SCALEDOWN_SECONDS", 300),
}
MAX_REQUESTS = variable("MAX_REQUESTS", 64)
TARGET_REQUESTS = variable("TARGET_REQUESTS", 16)
CORPUS_IDLE_SECONDS = 60
CORPUS_CONTAINERS = variable("CORPUS_CONTAINERS", 10 if GPU else 100)

# Options of embedding/settings.py that are fixed at deploy time: what is set here goes into the image.
MODEL = {
    "MODEL_ID": None,
    "MODEL_REVISION": None,
    "ENGINE": ENGINE,
    "PRECISION": "bfloat16" if GPU else None,  # on a CPU the one that the image was prepared in
}
LIMITS = dict.fromkeys(
    (
        *("MAX_CLIENT_BATCH", "MAX_BATCH_TOKENS", "MAX_CONCURRENT_REQUESTS", "MAX_BODY_BYTES"),
        *("GRACE_PERIOD", "LOG_LEVEL", "LOG_FORMAT", "METRICS_OPEN"),
    )
)


def chosen(options: dict[str, str | None]) -> dict[str, str]:
    """Those of `options` that the environment sets, or that have a default."""
    return {name: value for name, default in options.items() if (value := os.environ.get(name) or default)}


def find_secret() -> modal.Secret:
    """The secret with the token of the endpoint and of the hub; says what to create where there is none."""
    secret = modal.Secret.from_name(SECRET)
    if modal.is_local():
        try:
            secret.hydrate()
        except modal.exception.NotFoundError:
            raise SystemExit(f"error: there is no Modal secret {SECRET!r}. Create it: {CREATE_SECRET}") from None
        except modal.exception.Error:
            pass  # no account or no network, of which modal says more itself
    return secret


def pinned(*names: str) -> list[str]:
    """The lines of requirements.txt that pin these packages."""
    if not modal.is_local():
        return []
    lines = (HERE / "requirements.txt").read_text().splitlines()
    return [line for line in lines if line.partition("==")[0] in names]


def serves(path: Path) -> bool:
    """Whether a file of embedding/ has no part in preparing a model: a change of it prepares none anew."""
    prepares = path.parts[0] in ("model", "__init__.py", "settings.py", "requirements.txt")
    logs = path.as_posix() in ("telemetry/__init__.py", "telemetry/logs.py")
    return not (prepares or logs) or "__pycache__" in path.parts


# The model goes into the image, so that a container neither downloads nor prepares: in one step with what only
# preparing needs, which is gone when the step ends. The onnx engine serves without torch.
TORCH = ("" if GPU else "--extra-index-url https://download.pytorch.org/whl/cpu ") + "-r /build/requirements.txt"
if ENGINE == "torch":
    PREPARE = f"pip install {TORCH} && PYTHONPATH=/build python -m embedding.model"
else:
    PREPARE = (
        "python -m venv --system-site-packages /opt/torch"
        f" && /opt/torch/bin/pip install {TORCH}"
        " && PYTHONPATH=/build /opt/torch/bin/python -m embedding.model"
        " && rm -rf /opt/torch $HF_HOME/hub $HF_HOME/xet"
    )

secret = find_secret()

# Layers in the order in which they change: system, what serving needs, the model, the code.
model_image = (
    modal.Image.debian_slim(python_version="3.11")
    .pip_install_from_requirements(str(HERE / "embedding/requirements.txt"))
    .env({"HF_HOME": "/cache", **chosen(MODEL)})
    .add_local_file(HERE / "requirements.txt", "/build/requirements.txt", copy=True)
    .add_local_dir(HERE / "embedding", "/build/embedding", copy=True, ignore=serves)
    .run_commands(PREPARE, secrets=[secret])
    .env({"HF_HUB_OFFLINE": "1"})
)


def with_code(image: modal.Image) -> modal.Image:
    """`image` with the code, which is mounted: a change of it builds nothing."""
    return image.env(chosen(LIMITS)).add_local_dir(HERE / "embedding", "/root/embedding", ignore=["**/__pycache__"])


app = modal.App("embedding", image=with_code(model_image), secrets=[secret])


@app.cls(**CONTAINER, **SCALING, timeout=variable("REQUEST_SECONDS", 120) or 120)
@modal.concurrent(max_inputs=MAX_REQUESTS, target_inputs=TARGET_REQUESTS)
class Embedding:
    """The service in a container: the model is loaded and warm before the first request comes in."""

    @modal.enter(snap=SNAPSHOT)
    def load(self) -> None:
        """Into the snapshot, so what is made here keeps no token, socket or thread of ours."""
        start = time.perf_counter()
        from embedding.api.app import create_service
        from embedding.model import warm_up
        from embedding.settings import Settings
        from embedding.telemetry.logs import configure_logging

        imported = time.perf_counter()
        settings = Settings.read(auth_token="", hf_token="")
        configure_logging(settings.log_level, settings.log_format)
        self.service = create_service(settings)
        engine = self.service.load_now()
        loaded = time.perf_counter()
        warm_up(engine)
        warm = time.perf_counter()
        print(
            f"start: imports {imported - start:.2f} s, load {loaded - imported:.2f} s, warm-up {warm - loaded:.2f} s",
            flush=True,
        )

    @modal.asgi_app()
    def web(self) -> Any:
        """After a restore, which gives all containers one random state, and may have brought a new token."""
        from embedding.api import create_app
        from embedding.settings import Settings, SettingsError

        random.seed()
        try:
            return create_app(Settings.read(), self.service)
        except SettingsError as error:
            return refusal(f"{error} On Modal: {CREATE_SECRET} --force")


def refusal(reason: str) -> Any:
    """An ASGI app that tells every caller why the service does not run."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Mount

    return Starlette(routes=[Mount("/", app=JSONResponse({"detail": reason}, status_code=503))])


# Whole corpora: `modal run modal_app.py --input papers.parquet --output vectors`.

corpus_layers = model_image.pip_install(*pinned("pyarrow", "fsspec"))
corpus_image = with_code(corpus_layers)
driver_image = with_code(corpus_layers.env({"HF_HUB_OFFLINE": "0"}))  # which may read a dataset of the hub
inputs = modal.Volume.from_name("embedding-inputs", create_if_missing=True, version=2)
vectors = modal.Volume.from_name("embedding-vectors", create_if_missing=True, version=2)
INPUTS, VECTORS = Path("/inputs"), Path("/vectors")
DAY = 24 * 60 * 60
LOOK_AGAIN = 0.02


@app.cls(**CONTAINER, image=corpus_image, volumes={str(VECTORS): vectors}, max_containers=CORPUS_CONTAINERS, retries=3,
         timeout=3600, scaledown_window=CORPUS_IDLE_SECONDS)  # fmt: skip
class Corpus:
    """A container that embeds shards, one at a time, each into a file of the volume."""

    precision: str = modal.parameter(default="auto")

    @modal.enter(snap=SNAPSHOT)
    def load(self) -> None:
        from embedding.model import load_engine, warm_up
        from embedding.settings import Settings

        given = {} if self.precision == "auto" else {"precision": self.precision}
        self.settings = Settings.read(auth_token="", hf_token="", **given)
        self.engine = load_engine(self.settings)
        warm_up(self.engine)

    @modal.method()
    def describe(self) -> "Model":
        from embedding.corpus import describe
        from embedding.model.load import fetch_and_prepare

        return describe(self.engine, self.settings.model_id, fetch_and_prepare(self.settings))

    @modal.method()
    def embed(self, job: "Job", shard: "Shard", folder: Path) -> "ShardReport":
        from embedding.corpus import embed_shard

        folder.mkdir(parents=True, exist_ok=True)  # a volume as it was when this container began may not have it
        report = embed_shard(self.engine, job, shard, folder)
        vectors.commit()
        return report


@app.function(image=driver_image, volumes={str(INPUTS): inputs, str(VECTORS): vectors}, cpu=2, memory=2048,
              timeout=DAY, retries=3, max_containers=1)  # fmt: skip
def embed_corpus(address: str, output: str, options: dict[str, Any], containers: int) -> tuple[bool, str]:
    """Hand the shards of the input at `address` to `containers` of Corpus; whether it went well, and words for that.

    One job at a time. A container that is taken away is replaced, and the next one goes on where it stopped.
    """
    from embedding.corpus import CorpusError
    from embedding.model import ModelUnavailable
    from embedding.settings import SettingsError

    for volume in (inputs, vectors):
        volume.reload()
    try:
        return True, drive(address, VECTORS / output, options, 4 * containers)
    except (CorpusError, ModelUnavailable, SettingsError) as error:
        return False, str(error)  # to try again would change nothing


def drive(address: str, output: Path, options: dict[str, Any], ahead: int) -> str:
    """The job of `embed_corpus`, with at most `ahead` shards handed out and not answered; what it came to, in words."""
    from embedding import corpus
    from embedding.corpus.words import describe_result, open_and_describe
    from embedding.settings import CorpusSettings, Settings

    settings, wanted = Settings.read(), CorpusSettings.read(**options)
    source = open_and_describe(address, settings.hub_token, wanted)
    settings = corpus.as_recorded(settings, corpus.recorded(output))
    model = Corpus(precision=settings.precision).describe.remote()
    containers = Corpus(precision=model.precision)

    def in_containers(job: "Job", shards: "Iterator[Shard]") -> "Iterator[ShardReport]":
        vectors.commit()  # the folder, for the containers to write to
        calls = ((job, shard, output / corpus.SHARDS) for shard in shards)
        room = threading.Semaphore(ahead)
        for report in containers.embed.starmap(bounded(calls, room), order_outputs=False):
            room.release()
            yield report
        vectors.reload()

    progress = corpus.Progress()
    summary = corpus.embed_corpus(source, output, wanted, model, in_containers, progress=progress)
    vectors.commit()
    return describe_result(summary, str(output.relative_to(VECTORS)), progress)


async def bounded(items: Iterable[Any], room: threading.Semaphore) -> AsyncIterator[Any]:
    """`items`, each once there is `room` for it. Modal's map reads them on the loop by which its answers come in."""
    for item in items:
        while not room.acquire(blocking=False):
            await asyncio.sleep(LOOK_AGAIN)
        yield item


@app.local_entrypoint()
def main(
    input: str,
    output: str = "vectors",
    text_column: str = "",
    title_column: str = "",
    id_column: str = "",
    chunk_tokens: int = 0,
    chunk_overlap: int = -1,
    vector_format: str = "float32",
) -> None:
    """Embed INPUT, a file or folder here or an hf://datasets/… address, into the folder OUTPUT of a volume."""
    options = {"text_column": text_column or None, "title_column": title_column or None, "id_column": id_column or None,
               "chunk_tokens": chunk_tokens or None, "chunk_overlap": None if chunk_overlap < 0 else chunk_overlap,
               "vector_format": vector_format}  # fmt: skip
    within = PurePosixPath(output)
    if within.is_absolute() or not within.parts or ".." in within.parts:
        raise SystemExit(f"error: --output {output!r} must be the name of a folder, which will be on a volume.")
    address = input if "://" in input else str(INPUTS / uploaded(Path(input).expanduser().resolve()))
    well, words = embed_corpus.remote(address, output, options, CORPUS_CONTAINERS)
    if not well:
        raise SystemExit(f"error: {words}")
    print(words)
    print(f"To fetch them: modal volume get embedding-vectors {output} .")


def uploaded(path: Path) -> str:
    """Put a file or folder on the volume of inputs, in the place of what had its name; that name."""
    if not path.exists():
        raise SystemExit(f"error: there is no file or folder {path}.")
    with suppress(FileNotFoundError, modal.exception.NotFoundError):
        inputs.remove_file(f"/{path.name}", recursive=True)
    with inputs.batch_upload(force=True) as batch:
        if path.is_dir():
            batch.put_directory(path, f"/{path.name}")
        else:
            batch.put_file(path, f"/{path.name}")
    return path.name
