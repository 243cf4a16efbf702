"""What a service answers: its model and limits, vectors, or why not, each checked before it is believed."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import unquote

import numpy as np
from numpy.lib.format import read_array
from numpy.typing import NDArray

from embedding.client.errors import AnswerError, AuthenticationError, EmbeddingError, InvalidInput, TextTooLong
from embedding.client.patience import Answer
from embedding.client.texts import Batch

Vectors: TypeAlias = NDArray[np.float32]

# Bytes, which numpy reads as they are; a service that has only JSON answers that.
ACCEPT = b"application/x-npy, application/json;q=0.5"
QUOTED = 200
TOO_LARGE = ("too_many_texts", "too_large")


@dataclass(frozen=True, slots=True)
class Model:
    """A vector space: vectors of two of these must not be compared. `revision` is None where the service tells none."""

    id: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.id if self.revision is None else f"{self.id}@{self.revision}"

    @classmethod
    def parse(cls, text: str) -> "Model":
        """The model that `str` gives `text` for: `ID` or `ID@REVISION`."""
        name, _, revision = text.rpartition("@")
        return cls(name, revision) if name and "/" not in revision else cls(text)

    def differs(self, other: "Model") -> bool:
        """Whether the two can't be one: an unknown revision may be any."""
        known = None not in (self.revision, other.revision)
        return self.id != other.id or (known and self.revision != other.revision)


@dataclass(frozen=True, slots=True)
class ServiceInfo:
    """What a service says of itself: its model, the numbers in a vector, and the most that one request may hold."""

    model: Model
    dimension: int
    max_texts: int
    max_body_bytes: int | None


@dataclass(frozen=True, slots=True)
class Part:
    """The vectors of one batch, in its order: float32, (texts, dimension), and what the answer told beside them."""

    vectors: Vectors
    model: Model | None
    truncated: int


def join(parts: Sequence[Part]) -> Part:
    """The parts as one, in their order; its model is what all of them tell of theirs."""
    models = [part.model for part in parts if part.model]
    model = min(models, key=lambda model: model.revision is not None) if len(models) == len(parts) else None
    return Part(np.concatenate([part.vectors for part in parts]), model, sum(part.truncated for part in parts))


def read_info(answer: Answer) -> ServiceInfo:
    """What /info says. Raises AnswerError where it isn't that of an embedding service."""
    told = _parsed(answer)
    try:
        revision = told.get("model_sha") or told.get("model_revision") or told.get("revision")
        body = told.get("max_body_bytes")
        return ServiceInfo(
            Model(str(told["model_id"]), None if revision is None else str(revision)),
            int(told.get("default_dimensions") or told["dimension"]),
            max(1, int(told["max_client_batch_size"])),
            None if body is None else int(body),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise AnswerError("/info does not say which model the service runs. Check the address.") from None


def read_part(answer: Answer, texts: int) -> Part:
    """The vectors of `texts` texts in an answer of status 200. Raises AnswerError where it holds none."""
    return Part(_vectors(answer, texts), _named_model(answer), _truncated(answer))


def _named_model(answer: Answer) -> Model | None:
    name, revision = (answer.headers.get(header) for header in ("x-model-id", "x-model-revision"))
    return Model(unquote(name), unquote(revision) if revision else None) if name else None


def _vectors(answer: Answer, texts: int) -> Vectors:
    """The matrix in an answer: float32, (texts, dimension). Raises AnswerError where it is another."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "application/x-npy":
            vectors = read_array(io.BytesIO(answer.content), allow_pickle=False)
        else:
            vectors = np.array(_parsed(answer), np.float32)
        vectors = np.ascontiguousarray(vectors, np.float32)
    except (ValueError, TypeError, EOFError):
        raise AnswerError(f"The answer ({kind[:50] or 'no type'}) holds no vectors. Check the address.") from None
    if vectors.ndim != 2 or vectors.shape[0] != texts or not vectors.shape[1]:
        raise AnswerError(f"The answer holds an array of {vectors.shape} for {texts} texts.")
    if not np.isfinite(vectors).all():
        raise AnswerError("The answer holds numbers that are not finite.")
    return vectors


def _truncated(answer: Answer) -> int:
    given = answer.headers.get("x-truncated", "")
    return int(given) if given.isdecimal() else 0


def is_too_large(answer: Answer) -> bool:
    if answer.status == 413:
        return True
    return answer.status == 422 and any(detail.get("type") in TOO_LARGE for detail in _details(answer))


def refusal(answer: Answer, batch: Batch | None = None) -> EmbeddingError:
    """Why the service refused, as an error."""
    match answer.status:
        case 401 | 403:
            return AuthenticationError(
                f"The service does not take the token ({answer.status}). Check token or auth_token; a private Space "
                "also needs hf_token."
            )
        case 400 | 413 | 415 | 422:
            return _invalid(answer, batch)
        case status if 300 <= status < 400:
            return AnswerError(
                f"The service has moved ({status}). Give its new address as url, with https:// if it has it."
            )
        case 404 | 405:
            return AnswerError(f"There is no such service at this address ({answer.status}). Check url.")
        case status if status >= 500:
            return AnswerError(f"The service failed ({status}). Its log says why.")
        case status:
            return AnswerError(f"The service answered with status {status}, which this client does not know.")


def _invalid(answer: Answer, batch: Batch | None) -> InvalidInput:
    detail: dict[str, Any] = next(iter(_details(answer)), {})
    place = [part for part in detail.get("loc", ()) if part != "body"]
    field = place[0] if place and isinstance(place[0], str) else None
    index = place[1] if len(place) > 1 and isinstance(place[1], int) else None
    kind = detail.get("type")
    if kind == "extra_forbidden" and field in ("task", "titles", "truncate"):
        return InvalidInput(f"This service does not know {field!r}: update it, or do without.", field=field)
    if batch is None:
        return InvalidInput(f"The service refused the request ({answer.status}).", field=field)
    if index is None and len(batch.texts) == 1:
        index = 0
    index = None if index is None else batch.start + index
    name = "The request" if index is None else batch.name(index) if field != "titles" else f"titles[{index}]"
    otherwise = "is too large (413)" if answer.status == 413 else f"was refused ({answer.status})"
    reason = _quotable(detail, batch) or otherwise
    error = TextTooLong if kind == "text_too_long" else InvalidInput
    return error(f"{name} {reason}.", field=field, index=index)


def _quotable(detail: dict[str, Any], batch: Batch) -> str:
    """The service's own words, unless they hold a text: another service than ours may quote it."""
    words = str(detail.get("msg", ""))[:QUOTED].rstrip(".")
    quoted = (json.loads(text).strip() for text in (*batch.texts, *(batch.titles or ())))
    return "" if any(len(text) > 3 and text[:QUOTED] in words for text in quoted) else words


def _details(answer: Answer) -> list[dict[str, Any]]:
    parsed = _parsed(answer)
    details = parsed.get("detail") if isinstance(parsed, dict) else None
    return [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []


def _parsed(answer: Answer) -> Any:
    """The JSON of an answer; None where it has none."""
    try:
        return json.loads(answer.content)
    except (ValueError, RecursionError):
        return None
