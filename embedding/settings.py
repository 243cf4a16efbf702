"""Every option, once: its environment variable, its default and what it means."""

import re
from typing import Any, Literal, Self

from pydantic import ByteSize, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ORIGIN = re.compile(r"https?://[^/\s?#@]+")
DEFAULT_MODEL = "GokulRajaR/embeddinggemma-300m-qat-q8_0-unquantized"

EngineName = Literal["auto", "onnx", "torch"]
Precision = Literal["auto", "int8", "float32", "bfloat16"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
LogFormat = Literal["plain", "json"]
VectorFormat = Literal["float32", "float16", "int8"]
Quote = Literal["double", "none"]


class SettingsError(Exception):
    """An option has a value that can't be used; the message names the option and says what to set."""


class Options(BaseSettings):
    """A set of options. A field's name in either case is its environment variable."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    @classmethod
    def read(cls, **flags: Any) -> Self:
        """The options from the environment; `flags` win over it.

        Raises SettingsError with one readable line an option.
        """
        try:
            return cls(**flags)
        except ValidationError as error:
            lines = [f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors(include_input=False)]
            raise SettingsError("; ".join(lines)) from None


class Settings(Options):
    """The options of the service."""

    auth_token: SecretStr = Field(
        default=SecretStr(""), description="token that clients send; or several, separated by commas, to rotate one"
    )
    hf_token: SecretStr = Field(default=SecretStr(""), description="read access to the model on the Hugging Face Hub")
    model_id: str = Field(default=DEFAULT_MODEL, description="Hub id or local folder of a SentenceTransformer")
    model_revision: str = Field(default="main", description="branch, tag or commit of the model")
    demo: bool = Field(default=False, description="serve a small trained model that needs no account and no hub")
    host: str = Field(default="0.0.0.0", description="address to listen on")
    port: int = Field(default=7860, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    engine: EngineName = Field(
        default="auto", description="onnx (CPU) or torch; auto: torch on a GPU, else onnx where it can"
    )
    threads: int | None = Field(
        default=None, ge=1, description="processors that the engine uses; by default all that this process may use"
    )
    precision: Precision = Field(
        default="auto",
        description="number format; auto: float32, or what passed the fidelity check and is clearly faster",
    )
    max_client_batch: int = Field(default=128, ge=1, description="texts in one request")
    max_batch_tokens: int | None = Field(
        default=None, ge=1, description="tokens that the engine gets in one call; by default what suits its device"
    )
    max_concurrent_requests: int = Field(default=128, ge=1, description="requests under way; more are answered 429")
    max_queue_tokens: int = Field(
        default=1_000_000, ge=1, description="tokens that wait for the engine; a request beyond is answered 429"
    )
    request_timeout: float = Field(
        default=60.0, gt=0, description="seconds that a request may take, then it is answered 504"
    )
    cache_size: ByteSize = Field(
        default=ByteSize(64_000_000),
        description="memory for the vectors of texts that come again, in bytes or as 64MB; 0 keeps none",
    )
    max_body_bytes: int = Field(default=2_000_000, ge=1, description="size of a request's body")
    max_connections: int = Field(
        default=1000, ge=1, description="open connections; beyond it the one that has been idle longest is closed"
    )
    header_timeout: int = Field(default=10, ge=1, description="seconds for a request's head to come in")
    body_timeout: int = Field(
        default=30, ge=1, description="seconds for its body to come in, and one more for each 16,000 bytes"
    )
    keep_alive: int = Field(
        default=75, ge=1, description="seconds that an idle connection stays open; longer than a proxy's"
    )
    grace_period: int = Field(
        default=30, ge=0, description="seconds, told to stop, in which requests under way are answered"
    )
    served_model_name: str | None = Field(
        default=None, description="model name that clients may send, beside the model's own; * lets them send any"
    )
    default_task: str = Field(
        default="query", description="task of a request that names none; none: callers write prompts themselves"
    )
    default_dimensions: int | None = Field(
        default=None, ge=1, description="numbers in a vector where a request does not say; by default all"
    )
    accept_token_ids: bool = Field(
        default=False,
        description="take token ids of this model's tokenizer in place of texts; others give wrong vectors",
    )
    cors_origins: str | None = Field(
        default=None, description="web pages elsewhere that may call the service, as https://example.org, with commas"
    )
    metrics_open: bool = Field(default=False, description="answer /metrics without a token")
    log_level: LogLevel = Field(default="INFO", description="DEBUG says what the server does, never a text or a token")
    log_format: LogFormat = Field(default="plain", description="plain lines, or json: an object a line")

    @field_validator("threads", mode="before")
    @classmethod
    def _auto(cls, value: Any) -> Any:
        return None if isinstance(value, str) and value.lower() == "auto" else value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper_case(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @field_validator("log_format", mode="before")
    @classmethod
    def _lower_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _only_origins(cls, value: str | None) -> str | None:
        for origin in _parts(value or ""):
            if origin != "*" and not ORIGIN.fullmatch(origin):
                raise ValueError("list origins such as https://example.org, without a path, or * for any page")
        return value

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins of pages that may call the service from a browser."""
        return _parts((self.cors_origins or "").lower())  # as browsers send them

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens that clients may send."""
        return _parts(self.auth_token.get_secret_value())

    def required_tokens(self) -> tuple[str, ...]:
        """`tokens`, at least one. Raises SettingsError where none is configured: the service never runs open."""
        if not self.tokens:
            raise SettingsError(
                "no token is configured, and the service does not run open. Set auth_token to a secret of your own, "
                'for example: export auth_token="$(openssl rand -hex 24)". '
                "To try the service first, use --demo: it makes a token and prints it."
            )
        try:
            "".join(self.tokens).encode()
        except UnicodeEncodeError:
            raise SettingsError("auth_token is not valid UTF-8. Set it to plain letters and digits.") from None
        return self.tokens

    @property
    def hub_token(self) -> str | None:
        """HF_TOKEN, if it is set. Raises SettingsError where it can't be one."""
        token = self.hf_token.get_secret_value().strip()
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise SettingsError("HF_TOKEN is no token: it has characters that none has. Copy it anew from the hub.")
        return token or None


class CorpusSettings(Options):
    """The options of `embed`, beside those of the model."""

    text_column: str | None = Field(default=None, description="the column to embed; by default found by its name")
    title_column: str | None = Field(
        default=None, description="a column of titles; by default found by its name, and none leaves it out"
    )
    id_column: str | None = Field(
        default=None, description="a column of ids; by default found by its name, and none takes the row numbers"
    )
    keep: str | None = Field(default=None, description="columns to carry into the output, with commas between")
    input_format: str | None = Field(
        default=None, description="parquet, arrow, lance, jsonl, json, csv, tsv, txt or md; by default as files end"
    )
    encoding: str | None = Field(
        default=None, description="of text files, as in cp1252; by default UTF-8, or what the file's mark says"
    )
    delimiter: str | None = Field(
        default=None, description="of CSV: a character, tab, or none; by default found in the first rows"
    )
    quote: Quote | None = Field(
        default=None, description="of CSV: double (quotes), or none; by default double, and none for TSV"
    )
    no_header: bool = Field(default=False, description="the first row of CSV has no names: columns are 1, 2, 3 …")
    limit: int | None = Field(default=None, ge=1, description="embed the first rows, so many; by default all")
    dry_run: bool = Field(default=False, description="say what would be read and how long it would take, and end")
    allow_rejects: bool = Field(default=False, description="exit with 0 however many rows can't be embedded")
    chunk_tokens: int | None = Field(
        default=None, ge=1, description="tokens in a window of a longer text; by default the model's limit"
    )
    chunk_overlap: int | None = Field(
        default=None, ge=0, description="tokens that two windows share; by default an eighth of a window"
    )
    vector_format: VectorFormat = Field(
        default="float32", description="numbers in the files: float32, float16, or int8 with a scale a vector"
    )
    shard_chars: int = Field(default=1_000_000, ge=1, description="characters of text in one file of vectors, about")
    replace: bool = Field(
        default=False, description="delete files of vectors that are of the input no more, even all of them"
    )
    to: str | None = Field(
        default=None, description="lance: a LanceDB table as well; or hf://datasets/OWNER/NAME, to push the files there"
    )
    index: bool = Field(default=False, description="give the LanceDB table an index, for millions of vectors")


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part for each in text.split(",") if (part := each.strip()))
