"""Columns that are carried into the output: the type that each gets there, and its values in that type."""

import json
import re
from collections.abc import Set
from typing import Any

from embedding.corpus.read.content import is_unicode
from embedding.corpus.read.record import BOOLEAN, INTEGER, NUMBER, TEXT, TEXTS, UNTYPED, Kinds, extended, kind, plain_id

INT64, DOUBLE, BOOL, STRING, STRINGS = "int64", "double", "bool", "string", "list<string>"
TIMES = ("date", "timestamp")
TYPES = {INTEGER: INT64, NUMBER: DOUBLE, BOOLEAN: BOOL, TEXTS: STRINGS}
WHOLE_NUMBER = re.compile(r"-?(0|[1-9]\d{0,17})")
DECIMAL = re.compile(r"-?(0|[1-9]\d*)\.\d+([eE][+-]?\d+)?")


def kept_type(kinds: Set[str]) -> str:
    """The type of a column that holds `kinds`: that of all its values, or text."""
    if kinds == {INTEGER, NUMBER}:
        return DOUBLE
    if len(kinds) != 1:
        return STRING
    (only,) = kinds
    return only if only.startswith(TIMES) else TYPES.get(only, STRING)


def seen_kind(value: Any, kinds: Kinds) -> str:
    """What a value is, in a word; of text without a type, what it looks like; empty for none."""
    if UNTYPED not in kinds or not isinstance(value, str):
        return kind(value)
    if WHOLE_NUMBER.fullmatch(value):
        return INTEGER
    return NUMBER if DECIMAL.fullmatch(value) else TEXT if value else ""


def kept_value(value: Any, type_: str, name: str) -> Any:
    """`value` as a column of that type holds it, or None. Raises ValueError where it is of another type."""
    if (inner := extended(value)) is not None:
        value = inner
    if value is None or value != value or (value == "" and type_ != STRING):
        return None
    found = _typed(value, type_)
    if found is None or not all(map(is_unicode, _texts(found))):
        raise ValueError(f"the column '{name}', which is kept, holds {kind(value) or 'a value'} that is no {type_}")
    return found


def _typed(value: Any, type_: str) -> Any:
    """None where it is not of that type."""
    text = value if isinstance(value, str) else None
    match type_:
        case "int64" if kind(value) == INTEGER or (text and WHOLE_NUMBER.fullmatch(text)):
            return int(value)
        case "double" if kind(value) in (INTEGER, NUMBER) or (
            text and (WHOLE_NUMBER.fullmatch(text) or DECIMAL.fullmatch(text))
        ):
            return float(value)
        case "bool" if isinstance(value, bool):
            return value
        case "list<string>" if kind(value) == TEXTS:
            return value
        case "string":
            return text if text is not None else _written(value)
    return text if type_.startswith(TIMES) else None


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else value if isinstance(value, list) else []


def _written(value: Any) -> str:
    if isinstance(value, bytes):
        return str(plain_id(value) or "")
    return json.dumps(value, ensure_ascii=False, default=lambda other: plain_id(other))
