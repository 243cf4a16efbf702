"""What both clients know of a service and ask it, without any I/O: addresses, tokens, requests, answers, the model."""

import logging
import os
import threading
from typing import Any

import httpx
import numpy as np

from embedding.client.answers import (
    ACCEPT,
    Model,
    Part,
    ServiceInfo,
    Vectors,
    is_too_large,
    join,
    read_info,
    read_part,
    refusal,
)
from embedding.client.errors import (
    AuthenticationError,
    ConfigurationError,
    ModelChanged,
)
from embedding.client.patience import Deadline, Patience, Steps, ask, is_web
from embedding.client.texts import Batch, split

logger = logging.getLogger("embedding.client")

BATCH_TEXTS = 128
BATCH_BYTES = 64_000  # some 16,000 tokens: enough to fill an engine, and few enough for one answer's time


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
        self._expected = Model.parse(expected_model) if isinstance(expected_model, str) else expected_model
        self._truncate = truncate
        self._lock = threading.Lock()
        self._info: ServiceInfo | None = None
        self._model: Model | None = None
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
            raise refusal(answer)
        info = read_info(answer)
        self._recognize(info.model)
        if self._expected and self._expected.revision and info.model.revision is None:
            raise ModelChanged(f"The service does not tell its revision, and {self._expected} is expected.")
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
            part = read_part(answer, len(batch.texts))
            self._check(part)
            return part
        if is_too_large(answer) and len(batch.texts) > 1:
            first, second = batch.halves()
            parts = (yield from self.fetch(first, deadline)), (yield from self.fetch(second, deadline))
            return join(parts)
        raise refusal(answer, batch)

    def confirm(self, part: Part, deadline: Deadline) -> Steps[None]:
        """Ask for the model again where the answers did not all name it, since it may have changed between them."""
        known = self._model
        if part.model is None or (known and known.revision and part.model.revision is None):
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
        if self._expected and model.differs(self._expected):
            raise ModelChanged(
                f"The service runs {model}, and {self._expected} is expected. Serve that one, or embed everything anew "
                "and expect this one."
            )
        with self._lock:
            before = self._model or model
            if model.differs(before):
                raise ModelChanged(
                    f"The service ran {before}, and runs {model} now. Embed everything anew with a new client, or have "
                    "the old model served again."
                )
            self._model = model if before.revision is None else before


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
