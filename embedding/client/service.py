"""What both clients know of a service and ask it, without any I/O: addresses, tokens, requests, answers, the model."""

import io
import json
import logging
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import unquote

import httpx
import numpy as np
from numpy.typing import NDArray

from embedding.client.errors import (
    AnswerError,
    AuthenticationError,
    ConfigurationError,
    EmbeddingError,
    InvalidInput,
    ModelChanged,
    TextTooLong,
)
from embedding.client.patience import Answer, Deadline, Patience, Steps, ask, is_web
from embedding.client.texts import Batch, split

logger = logging.getLogger("embedding.client")

Vectors: TypeAlias = NDArray[np.float32]

# Bytes, which numpy reads as they are; a service that has only JSON answers that.
ACCEPT = b"application/x-npy, application/json;q=0.5"
BATCH_TEXTS = 128
BATCH_BYTES = 64_000  # some 16,000 tokens: enough to fill an engine, and few enough for one answer's time
QUOTED = 200
TOO_LARGE = ("too_many_texts", "too_large")


@dataclass(frozen=True, slots=True)
class Model:
    """A vector space: vectors of two of these must not be compared. `revision` is None where the service tells none."""

    id: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.id if self.revision is None else f"{self.id}@{self.revision}"

    def differs(self, other: "Model") -> bool:
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


class Service:
    """A service as its callers know it. May be used from many threads.

    The generators are steps to be done, by which the two clients differ; see `embedding.client.patience`.
    """

    def __init__(
        self,
        url: str | None,
        token: str | None,
        *,
        hf_token: str | None,
        expected_model: str | Model | None,
        truncate: bool,
        patience: Patience,
    ) -> None:
        self.url = _address(url or os.environ.get("EMBEDDING_URL", ""))
        self.patience = patience
        self._headers = {b"Accept": ACCEPT, b"User-Agent": b"embedding-client", **_authorization(token, hf_token)}
        self._expected = expected_model
        self._truncate = truncate
        self._lock = threading.Lock()
        self._info: ServiceInfo | None = None
        self._dimension: int | None = None

    def learn(self, deadline: Deadline) -> Steps[ServiceInfo]:
        """What the service says of itself; asked for once."""
        return self._info or (yield from self.look(deadline))

    def look(self, deadline: Deadline) -> Steps[ServiceInfo]:
        """The same, asked for anew. Raises ModelChanged where it isn't the model known or expected."""
        request = httpx.Request("GET", f"{self.url}/info", headers={**self._headers, b"Accept": b"application/json"})
        # Nothing is computed here, so that what takes long is a start.
        answer = yield from ask(request, self.patience, self.patience.start(deadline))
        if answer.status != 200:
            raise _refusal(answer)
        info = _info(answer)
        self._recognize(info.model)
        with self._lock:
            self._info = info
        return info

    def batches(self, whole: Batch, info: ServiceInfo) -> list[Batch]:
        room = BATCH_BYTES if info.max_body_bytes is None else min(BATCH_BYTES, info.max_body_bytes - 200)
        return list(split(whole, min(BATCH_TEXTS, info.max_texts), room))

    def fetch(self, batch: Batch, deadline: Deadline) -> Steps[Part]:
        """The vectors of a batch; in two requests where the service finds it too large for one."""
        headers = {**self._headers, b"Content-Type": b"application/json"}
        request = httpx.Request("POST", f"{self.url}/predict", headers=headers, content=batch.body(self._truncate))
        answer = yield from ask(request, self.patience, deadline)
        if answer.status == 200:
            part = Part(_vectors(answer, len(batch.texts)), _named_model(answer), _truncated(answer))
            self._check(part)
            return part
        if _too_large(answer) and len(batch.texts) > 1:
            first, second = batch.halves()
            parts = (yield from self.fetch(first, deadline)), (yield from self.fetch(second, deadline))
            return join(parts)
        raise _refusal(answer, batch)

    def confirm(self, part: Part, deadline: Deadline) -> Steps[None]:
        """Ask for the model again where the answers did not all name it, since it may have changed between them."""
        if part.model is None:
            yield from self.look(deadline)

    def empty(self, info: ServiceInfo) -> Part:
        return Part(np.empty((0, self._dimension or info.dimension), np.float32), info.model, 0)

    def _check(self, part: Part) -> None:
        if part.model is not None:
            self._recognize(part.model)
        with self._lock:
            self._dimension = self._dimension or part.vectors.shape[1]
        if part.vectors.shape[1] != self._dimension:
            raise ModelChanged(
                f"The service answers vectors of {part.vectors.shape[1]} numbers, and answered {self._dimension} "
                "before. Embed everything anew with what is served now, or have the old model served again."
            )

    def _recognize(self, model: Model) -> None:
        if isinstance(self._expected, Model):
            unexpected = model.differs(self._expected)
        else:
            unexpected = self._expected is not None and self._expected not in (model.id, str(model))
        if unexpected:
            raise ModelChanged(
                f"The service runs {model}, and {self._expected} is expected. Serve that one, or embed everything anew "
                "and expect this one."
            )
        with self._lock:
            before = self._info.model if self._info else model
        if model.differs(before):
            raise ModelChanged(
                f"The service ran {before}, and runs {model} now. Embed everything anew with a new client, or have the "
                "old model served again."
            )


def join(parts: Sequence[Part]) -> Part:
    """The parts as one, in their order; its model is None if one of theirs is."""
    models = [part.model for part in parts]
    vectors = np.concatenate([part.vectors for part in parts])
    return Part(vectors, None if None in models else models[0], sum(part.truncated for part in parts))


def warn_of_cut(part: Part) -> None:
    if part.truncated:
        logger.warning(
            "%d of %d texts were longer than the model reads, and were cut. With truncate=False they are refused.",
            part.truncated,
            len(part.vectors),
        )


def similarity(a: Any, b: Any) -> Vectors:
    """The cosine of each vector in `a` with each in `b`: float32, (len(a), len(b)). One vector counts as a list of one.

    As SentenceTransformer's `similarity`.
    """
    left, right = (np.atleast_2d(np.asarray(_numbers(vectors), np.float32)) for vectors in (a, b))
    left, right = (m / np.maximum(np.linalg.norm(m, axis=1, keepdims=True), 1e-12) for m in (left, right))
    return np.asarray(left @ right.T, np.float32)


def _numbers(vectors: Any) -> Any:
    if isinstance(vectors, str) or (isinstance(vectors, list | tuple) and any(isinstance(v, str) for v in vectors)):
        raise TypeError("similarity compares vectors: embed the texts first, by embed_query and embed_documents.")
    return vectors


def _address(url: str) -> str:
    if not url:
        raise ConfigurationError("No address: pass url, or set EMBEDDING_URL, for example to http://127.0.0.1:7860.")
    try:
        parsed = httpx.URL(url.strip())
    except (httpx.InvalidURL, UnicodeError):
        raise ConfigurationError("url is not an address that can be read.") from None
    if not is_web(parsed):
        raise ConfigurationError("url must begin with http:// or https://, for example http://127.0.0.1:7860.")
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise ConfigurationError("url must be the address alone, without a user, a query or a fragment.")
    return str(parsed).rstrip("/").removesuffix("/predict")


def _authorization(token: str | None, hf_token: str | None) -> dict[bytes, bytes]:
    """The headers with the tokens. A private Space's gateway takes Authorization for the Hugging Face token."""
    given = token or next((value for name, value in os.environ.items() if name.lower() == "auth_token"), "")
    # A service may know several, with commas between; any of them will do.
    ours = next((part for one in given.split(",") if (part := one.strip())), "")
    if not ours:
        raise AuthenticationError("No token: pass token, or set auth_token to the one that the service knows.")
    theirs = (hf_token or "").strip()
    if not (ours + theirs).isprintable() or not theirs.isascii():
        raise AuthenticationError("A token has characters that none can have. Copy it anew.")
    try:
        sent = ours.encode()
    except UnicodeEncodeError:
        sent = b""
    if not sent:
        raise AuthenticationError("The token is not valid Unicode. Copy it anew.")
    if theirs:
        return {b"Authorization": b"Bearer " + theirs.encode(), b"X-API-Key": sent}
    return {b"Authorization": b"Bearer " + sent}


def _info(answer: Answer) -> ServiceInfo:
    told = _parsed(answer)
    try:
        revision = told.get("model_sha") or told.get("model_revision") or told.get("revision")
        body = told.get("max_body_bytes")
        return ServiceInfo(
            Model(str(told["model_id"]), None if revision is None else str(revision)),
            int(told["dimension"]),
            max(1, int(told["max_client_batch_size"])),
            None if body is None else int(body),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise AnswerError("/info does not say which model the service runs. Check the address.") from None


def _named_model(answer: Answer) -> Model | None:
    name, revision = (answer.headers.get(header) for header in ("x-model-id", "x-model-revision"))
    return Model(unquote(name), unquote(revision) if revision else None) if name else None


def _vectors(answer: Answer, texts: int) -> Vectors:
    """The matrix in an answer: float32, (texts, dimension). Raises AnswerError where it is another."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "application/x-npy":
            vectors = np.load(io.BytesIO(answer.content), allow_pickle=False)
        else:
            vectors = np.array(json.loads(answer.content), np.float32)
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


def _too_large(answer: Answer) -> bool:
    if answer.status == 413:
        return True
    return answer.status == 422 and any(detail.get("type") in TOO_LARGE for detail in _details(answer))


def _refusal(answer: Answer, batch: Batch | None = None) -> EmbeddingError:
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
    if kind == "extra_forbidden":
        return InvalidInput(f"This service does not know {field!r}: update it, or do without.", field=field)
    if batch is None:
        return InvalidInput(f"The service refused the request ({answer.status}).", field=field)
    if index is None and len(batch.texts) == 1:
        index = 0
    index = None if index is None else batch.start + index
    name = "The request" if index is None else batch.name(index) if field != "titles" else f"titles[{index}]"
    reason = _quotable(detail, batch) or (
        "is too large (413)" if answer.status == 413 else f"was refused ({answer.status})"
    )
    error = TextTooLong if kind == "text_too_long" else InvalidInput
    return error(f"{name} {reason}.", field=field, index=index)


def _quotable(detail: dict[str, Any], batch: Batch) -> str:
    """The service's own words, unless they hold a text: another service than ours may quote it."""
    words = str(detail.get("msg", ""))[:QUOTED].rstrip(".")
    quoted = (json.loads(text).strip() for text in (*batch.texts, *(batch.titles or ())))
    return "" if any(len(text) > 3 and text[:QUOTED] in words for text in quoted) else words


def _details(answer: Answer) -> Iterable[dict[str, Any]]:
    try:
        details = json.loads(answer.content)["detail"]
    except (ValueError, TypeError, KeyError):
        return []
    return [d for d in details if isinstance(d, dict)] if isinstance(details, list) else []


def _parsed(answer: Answer) -> Any:
    try:
        return json.loads(answer.content)
    except ValueError:
        raise AnswerError("The answer is no JSON. Check that url is the address of an embedding service.") from None
