"""The Modal home: `modal deploy modal_app.py`. Needs only the package modal where it is deployed from."""

import os
from pathlib import Path

import modal

# Options of embedding/settings.py that are fixed at deploy time: what is set here goes into the image.
OPTIONS = ("MODEL_ID", "MODEL_REVISION", "ENGINE", "PRECISION", "MAX_CLIENT_BATCH", "MAX_BATCH_TOKENS", "LOG_LEVEL")
GPU = os.environ.get("GPU") or None
TORCH_INDEX = None if GPU else "https://download.pytorch.org/whl/cpu"
REQUIREMENTS = str(Path(__file__).with_name("requirements.txt"))
CONCURRENT_REQUESTS = 32

# modal secret create embedding auth_token=… HF_TOKEN=…
secret = modal.Secret.from_name("embedding", required_keys=["auth_token"])

image = (
    modal.Image.debian_slim(python_version="3.11")
    .pip_install_from_requirements(REQUIREMENTS, extra_index_url=TORCH_INDEX)
    .env({"HF_HOME": "/cache/huggingface"})
    .env({name: os.environ[name] for name in OPTIONS if name in os.environ})
    .add_local_python_source("embedding", copy=True)
    .workdir("/root")
    .env({"ENGINE": "torch"} if GPU else {})
    # The weights go into the image, prepared for its engine, so that a container neither downloads nor prepares.
    .run_commands("python -m embedding download", secrets=[secret])
    .env({"HF_HUB_OFFLINE": "1"})
)

app = modal.App("embedding", image=image)


@app.cls(secrets=[secret], gpu=GPU, cpu=2, memory=4096, scaledown_window=300, startup_timeout=600, timeout=120)
@modal.concurrent(max_inputs=CONCURRENT_REQUESTS)
class Embedding:
    """The service in a container: the model is loaded before the first request comes in."""

    @modal.enter()
    def load(self) -> None:
        from embedding.api import create_app
        from embedding.settings import Settings
        from embedding.telemetry import configure_logging

        settings = Settings.read()
        configure_logging(settings.log_level)
        self.api = create_app(settings)
        self.api.state.service.load_now()

    @modal.asgi_app()
    def web(self):  # type: ignore[no-untyped-def]  # modal reads the signature in the container
        return self.api
