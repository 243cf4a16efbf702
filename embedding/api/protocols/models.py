"""What clients call the model: its id, the last part of that, or the operator's own name; a task may stand behind."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from starlette.datastructures import State
from starlette.requests import Request

from embedding.api.edge.schema import DIMENSION, MAX_TEXTS, MODEL, MODEL_FOR_DOCUMENTS, MODELS, TASKS
from embedding.api.errors import InvalidInput, Refused
from embedding.model.prompts import ALIASES, find_prompt, task_names
from embedding.settings import Settings

ANY = "*"
NO_TASK = ("", "latest")  # Ollama's word for the tag of a name without one


class UnknownModel(Refused):
    """The request names a model that is not served here: answered 404."""

    status, kind = 404, "model_not_found"

    def __init__(self, served: str, field: str | None) -> None:
        super().__init__(
            f"{'names' if field else 'The address names'} no such model: '{served}' is served here, also with a task "
            f"behind it, as in '{served}:document'."
        )
        self.location = ("body", field) if field else ()


def served_name(request: Request) -> str:
    """The name under which the model is listed."""
    return _names(request.app.state)[0]


def listed_names(request: Request) -> list[str]:
    """The model's name, and with each of its tasks behind it."""
    return _listed(request.app.state)


def _listed(state: State) -> list[str]:
    name = _names(state)[0]
    return [name, *(f"{name}:{task}" for task in task_names(state.service.loaded.prompts))]


def known(state: State) -> Mapping[str, Any]:
    """What the OpenAPI document tells of the model, once it is loaded, and of the limits."""
    told: dict[str, Any] = {MAX_TEXTS: state.settings.max_client_batch}
    if state.service.ready:
        engine = state.service.loaded
        name = _names(state)[0]
        told |= {DIMENSION: engine.info.dimension, TASKS: task_names(engine.prompts)}
        told |= {MODEL: name, MODEL_FOR_DOCUMENTS: f"{name}:document"}
        if not _takes_any(state):
            told[MODELS] = _listed(state)
    return told


def task_of(request: Request, model: str | None, field: str | None = "model") -> str | None:
    """The task that stands behind the model's name, if any. Raises UnknownModel, and NotReady."""
    names = _names(request.app.state)
    prompts = request.app.state.service.loaded.prompts
    if model is None or model in names:
        return None
    name, _, task = model.rpartition(":")
    is_named = name in names or _takes_any(request.app.state)
    if is_named and task in NO_TASK:
        return None
    if is_named and name and find_prompt(prompts, task):
        return task
    if _takes_any(request.app.state):
        return None
    raise UnknownModel(names[0], field)


def agreed_task(asked: str | None, named: str | None, field: str) -> str | None:
    """The task that `field` asks for, else the one behind the model's name. Raises InvalidInput where they differ."""
    if asked is not None and named is not None and ALIASES.get(asked, asked) != ALIASES.get(named, named):
        raise InvalidInput((field,), "task", "is another than the one behind the model's name")
    return named if asked is None else asked


def _takes_any(state: State) -> bool:
    settings: Settings = state.settings
    return settings.served_model_name == ANY


def _names(state: State) -> list[str]:
    """All names of the model, the one to list first. A folder's path is known to its operator alone."""
    settings: Settings = state.settings
    model: str = state.service.loaded.info.model
    last = PurePath(model).name or model
    is_path = PurePath(model).is_absolute() or len(PurePath(model).parts) > 2
    own = [last, model] if is_path else [model, last]
    chosen = settings.served_model_name
    return list(dict.fromkeys(([chosen, PurePath(chosen).name] if chosen and chosen != ANY else []) + own))
