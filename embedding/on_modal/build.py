"""How the image is built: what is installed, which files decide over the model, and how that is prepared."""

from pathlib import Path

CPU_WHEELS = "--extra-index-url https://download.pytorch.org/whl/cpu"


def pinned(requirements: Path, *names: str) -> list[str]:
    """The lines of a requirements file that pin these packages."""
    return [line for line in requirements.read_text().splitlines() if line.partition("==")[0] in names]


def serves(path: Path) -> bool:
    """Whether a file of embedding/ has no part in preparing a model: a change of it prepares none anew."""
    prepares = path.parts[0] in ("model", "__init__.py", "atomic.py", "settings.py", "requirements.txt")
    logs = path.as_posix() in ("telemetry/__init__.py", "telemetry/logs.py")
    return not (prepares or logs) or "__pycache__" in path.parts


def prepare_command(engine: str | None, gpu: bool) -> str:
    """Fetches and prepares the model, in one step with what only preparing needs, which is gone when the step ends.

    The onnx engine serves without torch.
    """
    torch = f"{'' if gpu else f'{CPU_WHEELS} '}-r /build/requirements.txt"
    if engine == "torch":
        return f"pip install {torch} && PYTHONPATH=/build python -m embedding.model"
    return (
        "python -m venv --system-site-packages /opt/torch"
        f" && /opt/torch/bin/pip install {torch}"
        " && PYTHONPATH=/build /opt/torch/bin/python -m embedding.model"
        " && rm -rf /opt/torch $HF_HOME/hub $HF_HOME/xet"
    )
