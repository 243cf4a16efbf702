"""Text to vector: find the weights, cut text into tokens, run the encoder. Knows nothing of HTTP or queues."""

from embedding.model.engine import Engine, EngineInfo, ServedEngine, Task, Token, TokenizedText
from embedding.model.errors import ModelUnavailable, NotFinite, NoTokens, TextError, TextTooLong, Unsupported
from embedding.model.load import load_engine, warm_up
from embedding.model.progress import Report

__all__ = [
    "Engine",
    "EngineInfo",
    "ModelUnavailable",
    "NoTokens",
    "NotFinite",
    "Report",
    "ServedEngine",
    "Task",
    "TextError",
    "TextTooLong",
    "Token",
    "TokenizedText",
    "Unsupported",
    "load_engine",
    "warm_up",
]
