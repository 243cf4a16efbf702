"""Every option, once: its environment variable, its default and what it means."""

from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

DEFAULT_MODEL = "GokulRajaR/embeddinggemma-300m-qat-q8_0-unquantized"

EngineName = Literal["auto", "torch"]
Precision = Literal["auto", "float32", "bfloat16"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class SettingsError(Exception):
    """An option has a value that can't be used; the message names the option and says what to set."""


class Settings(BaseSettings):
    """The options of the service. A field's name in either case is its environment variable."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    auth_token: SecretStr = Field(
        default=SecretStr(""), description="token that clients send; or several, separated by commas, to rotate one"
    )
    hf_token: SecretStr = Field(default=SecretStr(""), description="read access to the model on the Hugging Face Hub")
    model_id: str = Field(default=DEFAULT_MODEL, description="Hub id or local folder of a SentenceTransformer")
    model_revision: str = Field(default="main", description="branch, tag or commit of the model")
    demo: bool = Field(default=False, description="serve a small trained model that needs no account and no hub")
    host: str = Field(default="0.0.0.0", description="address to listen on")
    port: int = Field(default=7860, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    engine: EngineName = Field(default="auto", description="what computes the vectors")
    precision: Precision = Field(
        default="auto", description="number format of the weights; auto: bfloat16 on CUDA, float32 elsewhere"
    )
    max_client_batch: int = Field(default=128, ge=1, description="texts in one request")
    max_batch_tokens: int | None = Field(
        default=None, ge=1, description="tokens that the engine gets in one call; by default what suits its device"
    )
    max_concurrent_requests: int = Field(default=128, ge=1, description="requests under way; more are answered 429")
    max_body_bytes: int = Field(default=2_000_000, ge=1, description="size of a request's body")
    log_level: LogLevel = Field(default="INFO", description="DEBUG says what the server does, never a text or a token")

    @classmethod
    def read(cls, **flags: Any) -> Self:
        """Settings from the environment; `flags` win over it.

        Raises SettingsError with one readable line an option.
        """
        try:
            return cls(**flags)
        except ValidationError as error:
            lines = [f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors(include_input=False)]
            raise SettingsError("; ".join(lines)) from None

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens that clients may send.

        Raises SettingsError where none is configured: the service never runs open.
        """
        tokens = tuple(token for part in self.auth_token.get_secret_value().split(",") if (token := part.strip()))
        if not tokens:
            raise SettingsError(
                "no token is configured, and the service does not run open. Set auth_token to a secret of your own, "
                'for example: export auth_token="$(openssl rand -hex 24)". '
                "To try the service first, use --demo: it makes a token and prints it."
            )
        return tokens
