"""Where choices come from: modal.env and the environment of `modal deploy`; in a container, what was carried there."""

import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from embedding.on_modal.choices import known, refuse

FILE = "modal.env"
CARRIED = "MODAL_CHOICES"  # by which a container learns what was chosen where it was deployed from
SECRETS = ("AUTH_TOKEN", "HF_TOKEN")


def read_file(path: Path) -> dict[str, str]:
    """The variables in a file of lines such as CPU_CORES=4; none where there is no file. Raises ChoiceError."""
    found: dict[str, str] = {}
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    for place, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.removeprefix("export ").partition("=")
        name = name.strip().upper()
        refuse(name in SECRETS, f"{path.name}, line {place}: {name} is a secret, and belongs in `modal secret create`.")
        near = difflib.get_close_matches(name, known(), 1)
        meant = f" Did you mean {near[0]}?" if near else ""
        refuse(not equals or name not in known(), f"{path.name}, line {place}: {name} is no variable.{meant}")
        found[name] = value.strip().strip("\"'")
    return found


def given_here(file: Path, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables of the file and of the environment, which wins. Raises ChoiceError."""
    set_here = {name: environment[name] for name in known() if environment.get(name, "").strip()}
    return {**read_file(file), **set_here}


def describe(given: Mapping[str, str], file: Mapping[str, str], app_name: str) -> str:
    """What is deployed, for the one who deploys: each choice and whether the next deploy has it too."""
    kept = [f"{name}={value}" for name, value in given.items() if file.get(name) == value]
    once = [f"{name}={value}" for name, value in given.items() if file.get(name) != value]
    lines = [f"{app_name}: {', '.join(kept)} (from {FILE})"] if kept else []
    if once:
        lines.append(
            f"{app_name}: {', '.join(once)} (from the environment: write it to {FILE}, or the next deploy lacks it)"
        )
    return "\n".join([*lines, f"{app_name}: everything else by default"])


def carried(given: Mapping[str, str]) -> dict[str, str]:
    """The choices as a variable of a container, which declares what was declared where it was deployed from."""
    return {CARRIED: json.dumps({name: value for name, value in given.items() if name != "MODEL_ID"})}


def carried_here(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The choices that `carried` put into this container."""
    found: dict[str, str] = json.loads(environment.get(CARRIED, "{}"))
    return found
