"""The Modal home: `modal deploy modal_app.py`. Needs only the package modal where it is deployed from.

From top to bottom: what was chosen, the image, the class that answers queries, and whole corpora.
"""

import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import modal

from embedding.on_modal.account import find_secret, find_volume
from embedding.on_modal.build import pinned, prepare_command, serves
from embedding.on_modal.choices import ChoiceError, Choices
from embedding.on_modal.given import FILE, carried, carried_here, describe, given_here, read_file
from embedding.on_modal.local_model import is_hidden
from embedding.on_modal.start import start_job

if TYPE_CHECKING:
    from embedding.corpus import Job, Model, Shard, ShardReport
    from embedding.corpus.estimate import Speed
    from embedding.corpus.read.rows import Document

HERE = Path(__file__).parent

# The table in docs/modal.md says what each is for. A container has them from where it was deployed, since it must
# declare the same: Modal pairs what a function uses here with what it used there.
try:
    GIVEN = given_here(HERE / FILE) if modal.is_local() else carried_here()
    CHOICES = Choices.read(GIVEN)
    LOCAL_MODEL = CHOICES.local_model
    if modal.is_local():
        print(describe(GIVEN, read_file(HERE / FILE), CHOICES.app_name))
except ChoiceError as wrong:
    raise SystemExit(f"error: {wrong}") from None

# Two numbers are a request and a hard limit. Without the limit Modal lets a container use, and bills, 16 cores more.
CONTAINER: dict[str, Any] = {
    "gpu": list(CHOICES.gpu) or None,
    "cpu": (CHOICES.cpu_cores, CHOICES.cpu_cores),
    "memory": (CHOICES.memory_mb, CHOICES.memory_limit_mb),
    "startup_timeout": CHOICES.start_seconds,
    "region": CHOICES.region or None,
}
SCALING: dict[str, Any] = {
    "min_containers": CHOICES.min_containers,
    "max_containers": CHOICES.max_containers,
    "buffer_containers": CHOICES.buffer_containers,
    "scaledown_window": CHOICES.scaledown_seconds,
}
# A snapshot with a GPU is an experiment of Modal's, so there it has to be asked for.
SNAPSHOT: dict[str, Any] = {
    "enable_memory_snapshot": CHOICES.snapshot,
    "experimental_options": {"enable_gpu_snapshot": True} if CHOICES.gpu and CHOICES.snapshot else None,
}
CORPUS_IDLE_SECONDS = 60


# The model goes into the image, so that a container neither downloads nor prepares.
PREPARE = prepare_command(CHOICES.engine, bool(CHOICES.gpu))

TOKEN_KEYS = "auth_token=YOUR_TOKEN"
secret = find_secret(CHOICES.app_name, TOKEN_KEYS, needed=True)
# The hub's token is for the build, and for data sets: no container that answers strangers has it.
build_secret = find_secret(f"{CHOICES.app_name}-build", "HF_TOKEN=hf_…", needed=False)


def with_model(image: modal.Image) -> modal.Image:
    """`image` with the model, fetched or uploaded, and prepared."""
    if LOCAL_MODEL and modal.is_local():
        image = image.add_local_dir(LOCAL_MODEL, CHOICES.model["MODEL_ID"], copy=True, ignore=is_hidden)
    return image.run_commands(PREPARE, secrets=[build_secret]).env({"HF_HUB_OFFLINE": "1"})


# Layers in the order in which they change: system, what serving needs, the model, the code.
model_image = with_model(
    modal.Image.debian_slim(python_version="3.11")
    .pip_install_from_requirements(str(HERE / "embedding/requirements.txt"))
    .env({"HF_HOME": "/cache", **CHOICES.model})
    .add_local_file(HERE / "requirements.txt", "/build/requirements.txt", copy=True)
    .add_local_dir(HERE / "embedding", "/build/embedding", copy=True, ignore=serves)
)


def with_code(image: modal.Image) -> modal.Image:
    """`image` with the code, which is mounted: a change of it builds nothing."""
    image = image.env({**CHOICES.limits, **carried(GIVEN)})
    return image.add_local_dir(HERE / "embedding", "/root/embedding", ignore=["**/__pycache__"])


app = modal.App(CHOICES.app_name, image=with_code(model_image))


@app.cls(**CONTAINER, **SCALING, **SNAPSHOT, secrets=[secret], timeout=CHOICES.request_seconds)
@modal.concurrent(max_inputs=CHOICES.max_requests, target_inputs=CHOICES.target_requests)
class Embedding:
    """A container that answers queries. Its model is loaded and warm before the first request comes in."""

    @modal.enter(snap=bool(CHOICES.snapshot))
    def load(self) -> None:
        """Into the snapshot, so what is made here keeps no token and no socket.

        The engine's threads are in it. They go on after a restore, as far as gVisor's own tools can show
        (tests/modal_runtime/test_snapshot.py).
        """
        start = time.perf_counter()
        from embedding.api.app import create_service
        from embedding.model import warm_up
        from embedding.settings import Settings
        from embedding.telemetry.logs import configure_logging

        imported = time.perf_counter()
        self.settings = Settings.read(auth_token="", hf_token="")
        configure_logging(self.settings.log_level, self.settings.log_format)
        self.service = create_service(self.settings)
        engine = self.service.load_now()
        loaded = time.perf_counter()
        warm_up(engine)
        warm = time.perf_counter()
        print(
            f"start: imports {imported - start:.2f} s, load {loaded - imported:.2f} s, warm-up {warm - loaded:.2f} s",
            flush=True,
        )

    @modal.asgi_app(
        label=CHOICES.label, custom_domains=CHOICES.custom_domain or None, requires_proxy_auth=CHOICES.proxy_auth
    )
    def web(self) -> Any:
        """After a restore, which gives all containers one random state, and may have brought a new token."""
        from embedding.api import create_app
        from embedding.settings import Settings, SettingsError

        random.seed()
        try:
            return create_app(Settings.read(), self.service)
        except SettingsError as error:
            return refusal(f"{error} On Modal: modal secret create {CHOICES.app_name} {TOKEN_KEYS} --force")

    @modal.method()
    async def embed(self, texts: str | list[str], task: str | None = None, **options: Any) -> Any:
        """What `/predict` gives, for callers with access to this workspace: a vector for a text, rows for a list.

        `options` are its other fields, such as `titles`, `dimensions` or `precision`.

        Raises ValueError where `/predict` answers 422, and RuntimeError where the same call may succeed later.
        """
        from embedding.on_modal.calls import embed

        return await embed(self.service, self.settings, texts, {"task": task, **options})


def refusal(reason: str) -> Any:
    """An ASGI app that tells every caller why the service does not run."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Mount

    return Starlette(routes=[Mount("/", app=JSONResponse({"detail": reason}, status_code=503))])


if CHOICES.server:
    PORT = 8000

    @app.server(
        **{name: value for name, value in CONTAINER.items() if name != "region"},
        **SCALING,
        secrets=[secret],
        port=PORT,
        unauthenticated=not CHOICES.proxy_auth,
        target_concurrency=CHOICES.target_requests,
        routing_region=CHOICES.routing_region or "us-east",
        compute_region=CHOICES.region or None,
        exit_grace_period=CHOICES.grace_seconds,
    )
    class Server:
        """The same service near its callers: requests enter in ROUTING_REGION, and Modal queues none of them."""

        @modal.enter()
        def start(self) -> None:
            from embedding.on_modal.server import start_server

            self.process = start_server(PORT)

        @modal.exit()
        def stop(self) -> None:
            self.process.terminate()
            self.process.wait()


# Whole corpora: `modal run --detach modal_app.py --input papers.parquet --output vectors`.

reading = pinned(HERE / "requirements.txt", "pyarrow", "fsspec", "charset-normalizer") if modal.is_local() else []
corpus_layers = model_image.pip_install(*reading)
corpus_image = with_code(corpus_layers)
driver_image = with_code(corpus_layers.env({"HF_HUB_OFFLINE": "0"}))  # which may read a data set of the hub
inputs = find_volume(str(CHOICES.input_volume))
vectors = find_volume(str(CHOICES.output_volume))
board = modal.Dict.from_name(CHOICES.board, create_if_missing=True)
INPUTS, VECTORS, BUCKET = Path("/inputs"), Path("/vectors"), Path("/bucket")
DAY = 24 * 60 * 60


@app.cls(**CONTAINER, image=corpus_image, volumes={str(VECTORS): vectors}, max_containers=CHOICES.corpus_containers,
         retries=3, timeout=3600, scaledown_window=CORPUS_IDLE_SECONDS)  # fmt: skip
class Corpus:
    """A container that embeds shards, one at a time, each into a file of the volume.

    It has no snapshot, which `modal run` never makes, so it does nothing that only a snapshot makes cheap.
    """

    precision: str = modal.parameter(default="auto")

    @modal.enter()
    def load(self) -> None:
        from embedding.model.load import fetch_and_prepare, load_engine
        from embedding.model.precision import with_corpus_precision
        from embedding.settings import Settings

        self.began = time.monotonic()
        given = {} if self.precision == "auto" else {"precision": self.precision}
        self.settings = Settings.read(auth_token="", hf_token="", **given)
        model = fetch_and_prepare(self.settings)
        self.engine = load_engine(with_corpus_precision(self.settings, model.manifest), model=model)

    @modal.method()
    def describe(self) -> "Model":
        from embedding.corpus import describe

        return describe(self.engine, self.settings.model_id)

    @modal.method()
    def measure(self, job: "Job", documents: "list[Document]") -> "Speed":
        from embedding.corpus.estimate import measure

        return measure(self.engine, job, documents)

    @modal.method()
    def embed(self, job: "Job", shard: "Shard", folder: Path) -> tuple["ShardReport", str, float]:
        """The report, and which container has run for how many seconds."""
        from embedding.corpus import embed_shard

        folder.mkdir(parents=True, exist_ok=True)  # a volume as it was when this container began may not have it
        report = embed_shard(self.engine, job, shard, folder)
        vectors.commit()
        return report, os.environ.get("MODAL_TASK_ID", ""), time.monotonic() - self.began


def bucket_mount() -> dict[str, modal.CloudBucketMount]:
    """Where the driver reads from and copies to, if a bucket was chosen."""
    if not CHOICES.bucket:
        return {}
    keys = modal.Secret.from_name(CHOICES.bucket_secret) if CHOICES.bucket_secret else None
    mount = modal.CloudBucketMount(CHOICES.bucket, bucket_endpoint_url=CHOICES.bucket_endpoint, secret=keys)
    return {str(BUCKET): mount}


@app.function(image=driver_image, secrets=[build_secret], cpu=(2, 2), memory=(2048, 4096), timeout=DAY, retries=10,
              volumes={str(INPUTS): inputs, str(VECTORS): vectors, **bucket_mount()})  # fmt: skip
def embed_corpus(
    address: str,
    output: str = "vectors",
    options: dict[str, Any] | None = None,
    containers: int | None = None,
    to: str | None = None,
    model: dict[str, str] | None = None,
) -> tuple[bool, str]:
    """Hand the shards of the input at `address` to `containers` of Corpus; whether it went well, and words for that.

    `options` are those of `embed`, by name. With `to`, the finished files are copied there. `model` are the variables
    that the caller counts on, such as MODEL_ID: with others the job is refused.

    A container that is taken away is replaced, and the next one goes on where it stopped. An output folder has one job
    at a time.
    """
    from embedding.on_modal.driver import Driver

    for volume in (inputs, vectors):
        volume.reload()
    driver = Driver(CHOICES, Corpus, vectors, VECTORS, INPUTS, BUCKET if CHOICES.bucket else None, board)
    most = containers if containers is not None else CHOICES.corpus_containers or 1
    return driver.run(address, output, options or {}, most, to, model or {})


@app.local_entrypoint()
def main(
    input: str,
    output: str = "vectors",
    to: str = "",
    text_column: str = "",
    title_column: str = "",
    id_column: str = "",
    chunk_tokens: int = 0,
    keep: str = "",
    limit: int = 0,
    dry_run: bool = False,
    allow_rejects: bool = False,
    input_format: str = "",
    encoding: str = "",
    delimiter: str = "",
    quote: str = "",
    no_header: bool = False,
    chunk_overlap: int = -1,
    vector_format: str = "",
    replace: bool = False,
) -> None:
    """Embed INPUT into the folder OUTPUT of a volume.

    INPUT is a file or folder here, or hf://datasets/…, volume://… or bucket://…. With TO, bucket://FOLDER or
    hf://datasets/OWNER/NAME, the finished files are copied there. DRY_RUN says what it would take and cost.
    """
    options = {"text_column": text_column or None, "title_column": title_column or None, "id_column": id_column or None,
               "chunk_tokens": chunk_tokens or None, "chunk_overlap": None if chunk_overlap < 0 else chunk_overlap,
               "vector_format": vector_format or None, "replace": replace, "keep": keep or None,
               "limit": limit or None, "dry_run": dry_run, "allow_rejects": allow_rejects,
               "input_format": input_format or None, "encoding": encoding or None, "delimiter": delimiter or None,
               "quote": quote or None, "no_header": no_header}  # fmt: skip
    start_job(CHOICES, GIVEN, embed_corpus, app.app_id, inputs, board, input, output, to, options)
