"""JSON bodies, checked against their type while they are parsed, so that the first thing wrong ends it."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from embedding.api.errors import InvalidInput, Location

T = TypeVar("T", bound=msgspec.Struct)

NAMES = {
    "str": "a string", "array": "a list", "object": "an object", "bool": "a boolean", "int": "a whole number",
    "float": "a number",
}  # fmt: skip
# What msgspec's messages look like: the type of error, and the place as `$.query[3]`.
PLACE = re.compile(r" - at `\$(.*)`$", re.DOTALL)
STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
EXPECTED = re.compile(r"Expected `([^`]*)`, got `([^`]*)`")
LENGTH = re.compile(r"Expected `(\w+)` of length (>=|<=) (\d+)")
BOUND = re.compile(r"Expected `\w+` (>=|<=|>|<) (\S+)")
UNKNOWN = re.compile(r"Object contains unknown field `(.*?)`(?: - at `.*`)?$", re.DOTALL)
MISSING = re.compile(r"Object missing required field `(.*?)`")
# A letter that is written by its number, which no client does, but who hides a field's name.
HIDDEN = re.compile(rb"\\u00[4-7]")
BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


class JsonBody(Generic[T]):
    """A body of type `kind`, a msgspec.Struct. `expects` says in words what its fields must be, where that is clearer;
    under `name[]` what a list's elements must be. A field that an object has twice is refused.

    Time and memory are bounded by the body's size: parsing takes some milliseconds a megabyte, wrong or right.
    """

    def __init__(self, kind: type[T], expects: Mapping[str, str] | None = None) -> None:
        self.kind = kind
        self.expects = expects or {}
        self._decoder = msgspec.json.Decoder(kind)
        _, schemas = msgspec.json.schema_components([kind])
        names = {name for schema in schemas.values() for name in schema.get("properties", ())}
        self._quoted_names = [f'"{name}"'.encode() for name in names]

    def parse(self, content: bytes | bytearray) -> T:
        """The body. Raises InvalidInput, naming the field."""
        if not content.strip():
            raise _invalid((), "json_type", "must be a JSON object, and is empty")
        if content.startswith(BYTE_ORDER_MARKS):
            raise _invalid((), "json_invalid", "must be in UTF-8 without a byte order mark")
        try:
            body = self._decoder.decode(content)
            self._check_repeated(content)
        except msgspec.ValidationError as error:
            raise self._explained(str(error)) from None
        except UnicodeDecodeError:
            raise _invalid((), "json_invalid", "is not valid JSON in UTF-8") from None
        except msgspec.DecodeError as error:
            raise _invalid((), "json_invalid", f"is not valid JSON: {error}") from None
        except RecursionError:
            raise _invalid((), "json_invalid", "is nested too deeply") from None
        return body

    def convert(self, fields: Mapping[str, Any]) -> T:
        """The body of fields that did not come as JSON. Raises InvalidInput, naming the field."""
        try:
            return msgspec.convert(fields, self.kind)
        except msgspec.ValidationError as error:
            raise self._explained(str(error)) from None

    def _check_repeated(self, content: bytes | bytearray) -> None:
        """Raise InvalidInput where an object has a field twice, of which msgspec takes the last."""
        # Only json can tell, and it is slow, so it is asked only where a name is there twice, as a text may be.
        if HIDDEN.search(content) or any(content.count(name) > 1 for name in self._quoted_names):
            json.loads(content, object_pairs_hook=_check_once, parse_int=str, parse_float=str)

    def _explained(self, message: str) -> InvalidInput:
        if unknown := UNKNOWN.match(message):
            return _invalid((unknown[1],), "extra_forbidden", "is not permitted: there is no such field")
        place = PLACE.search(message)
        location = tuple(_steps(place[1])) if place else ()
        if missing := MISSING.match(message):
            return _invalid((*location, missing[1]), "missing", "is required")
        if length := LENGTH.match(message):
            bound = "at least" if length[2] == ">=" else "at most"
            return _invalid(location, "length", f"must have a length of {bound} {length[3]}")
        if limit := BOUND.match(message):
            return _invalid(location, "range", f"must be {limit[1]} {limit[2]}")
        return _invalid(location, "type", f"must be {self._expected(location, message)}")

    def _expected(self, location: Location, message: str) -> str:
        if not location:
            return "a JSON object"
        field = "".join("[]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
        if field in self.expects:
            return self.expects[field]
        if expected := EXPECTED.match(message):
            return " or ".join(NAMES.get(name, name) for name in expected[1].split(" | ") if name != "null")
        return "one of the values that the documentation names"  # the message quotes what was sent


def openapi_components(bodies: list[JsonBody[Any]], known: Mapping[str, Any]) -> dict[str, Any]:
    """The schemas of `bodies` for an OpenAPI document, with what is `known` in the place of its name."""
    _, components = msgspec.json.schema_components(
        [body.kind for body in bodies], ref_template="#/components/schemas/{name}"
    )
    return {name: filled(schema, known) for name, schema in components.items()}


MAX_TEXTS = "MAX_CLIENT_BATCH"
DIMENSION = "DIMENSION"
TASKS = "TASKS"
MODELS = "MODELS"
MODEL = "MODEL"
MODEL_FOR_DOCUMENTS = "MODEL:document"
"""Stand in a type or an example for what is not known before the app is made, or the model is loaded."""
LATER = (MAX_TEXTS, DIMENSION, TASKS, MODELS, MODEL, MODEL_FOR_DOCUMENTS)


def filled(schema: Any, known: Mapping[str, Any]) -> Any:
    """A part of an OpenAPI document with what is `known` in the place of its name, and without what is not."""
    if isinstance(schema, dict):
        told = {key: value for key, value in schema.items() if not _is_unknown(value, known)}
        return {key: filled(value, known) for key, value in told.items()}
    if isinstance(schema, list):
        return [filled(value, known) for value in schema]
    return known[schema] if isinstance(schema, str) and schema in LATER else schema


def _is_unknown(value: Any, known: Mapping[str, Any]) -> bool:
    return isinstance(value, str) and value in LATER and value not in known


def _steps(place: str) -> Iterator[str | int]:
    for name, index in STEP.findall(place):
        yield name or int(index)


def _check_once(fields: Sequence[tuple[str, Any]]) -> None:
    seen = set()
    for name, _ in fields:
        if name in seen:
            raise _invalid((name,), "repeated", "is there twice")
        seen.add(name)


def _invalid(location: Location, kind: str, message: str) -> InvalidInput:
    return InvalidInput(location, kind, message)
