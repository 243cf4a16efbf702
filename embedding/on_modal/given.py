"""Where choices come from: modal.env and the environment of `modal deploy`; in a container, what was carried there."""

import difflib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from embedding.on_modal.choices import ChoiceError, known, refuse

FILE = "modal.env"
CARRIED = "MODAL_CHOICES"  # by which a container learns what was chosen where it was deployed from
SECRETS = ("AUTH_TOKEN", "HF_TOKEN")
EXPORT = re.compile(r"^\s*export\s+")
COMMENT = re.compile(r"(?:^|\s)#")
QUOTED = re.compile(r"""(?P<quote>["'])(?P<text>((?!(?P=quote)).)*)(?P=quote)\s*(#.*)?""")


def read_file(path: Path) -> dict[str, str]:
    """The variables in a file of lines such as CPU_CORES=4; none where there is no file. Raises ChoiceError."""
    found: dict[str, str] = {}
    for place, line in enumerate(_lines(path), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"{path.name}, line {place}"
        name, equals, value = EXPORT.sub("", line).partition("=")
        name = name.strip().upper()
        for secret in SECRETS:
            refuse(name.startswith(secret), f"{where}: {secret} is a secret, and belongs in `modal secret create`.")
        # A line that is none may be a secret, so no word of it is repeated.
        known_form = name.isidentifier() and (equals or name in known())
        refuse(not known_form, f"{where} is not of the form NAME=VALUE.")
        near = difflib.get_close_matches(name, known(), 1)
        refuse(name not in known(), f"{where}: {name} is no variable.{f' Did you mean {near[0]}?' if near else ''}")
        refuse(not equals, f"{where}: {name} is no variable alone. Write {name}=VALUE.")
        refuse(name in found, f"{where}: {name} is there twice. Keep one.")
        if text := _unquoted(value, f"{where}: {name}"):
            found[name] = text
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8-sig").split("\n")  # a mark at the beginning is what some editors write
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise ChoiceError(f"{path.name} can't be read: {reason}.") from None


def _unquoted(value: str, what: str) -> str:
    """The value as a shell reads it: without quotes around it, and without a comment after it."""
    value = value.strip()
    if value[:1] not in ("'", '"'):
        return COMMENT.split(value)[0].strip()
    quoted = QUOTED.fullmatch(value)
    refuse(quoted is None, f"{what} has a quote that does not end, or something after it.")
    return quoted["text"].strip() if quoted else ""


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
