"""Text to vector: find the weights, cut text into tokens, run the encoder. Knows nothing of HTTP or queues."""

from embedding.model.engine import Engine, EngineInfo, Task, TokenizedText
from embedding.model.errors import ModelUnavailable, NotFinite, NoTokens, TextError, TextTooLong
from embedding.model.load import load_engine, warm_up
from embedding.model.progress import Report

__all__ = [
    "Engine",
    "EngineInfo",
    "ModelUnavailable",
    "NoTokens",
    "NotFinite",
    "Report",
    "Task",
    "TextError",
    "TextTooLong",
    "TokenizedText",
    "load_engine",
    "warm_up",
]
