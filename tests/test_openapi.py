"""The OpenAPI document promises what the service does: schemathesis makes requests of it, good and bad."""

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

load_all_checks()

# The tests of the token are in test_auth.py; here every request has one.
LEFT_OUT = {"ignored_auth", "missing_required_header"}
# What JSON Schema can't say of a body: as many titles as texts, and fields that only go together with others.
WORDS_BEYOND_SCHEMA = {
    "texts is required",
    "can't be there beside texts",
    "is another than the one behind the model's name",
    "belongs to sentences",
    "has an id that is no token's",
}
BEYOND_SCHEMA = {"chunks", "titles", "title_of_a_query", "no_ranges", "task", "92.0", *WORDS_BEYOND_SCHEMA}
quick = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_what_is_promised_is_kept(gemma: httpx.Client, mode: GenerationMode) -> None:
    document = schemathesis.openapi.from_url(f"{gemma.base_url}/openapi.json")
    checks = [check for check in CHECKS.get_all() if check.__name__ not in LEFT_OUT]
    asked = []

    for found in document.get_all_operations():
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and not operation.body:
            continue  # there is nothing in it to get wrong

        @quick
        @given(case=operation.as_strategy(generation_mode=mode))
        def keeps_its_promise(case: Case) -> None:
            asked.append(case.path)
            answer = case.call(headers=dict(gemma.headers))
            beyond = answer.status_code == 422 and kind_of(answer.json()) in BEYOND_SCHEMA
            left_out = [CHECKS.get_one("positive_data_acceptance")] if beyond else []
            case.validate_response(answer, headers=dict(gemma.headers), checks=checks, excluded_checks=left_out)

        keeps_its_promise()

    assert asked.count("/predict") >= 50
    assert asked.count("/v1/embeddings") >= 50


def kind_of(error: dict[str, Any]) -> str:
    if "must be a whole number" in str(error):
        return "92.0"  # is one for JSON Schema
    match error:
        case {"error": {"code": kind}} | {"detail": [{"type": kind}, *_]}:
            return str(kind)
    return next((words for words in WORDS_BEYOND_SCHEMA if words in str(error)), "")


def test_the_schema_says_what_is_refused(gemma: httpx.Client) -> None:
    body = gemma.get("/openapi.json").json()["components"]["schemas"]["PredictRequest"]
    text, texts = body["properties"]["query"]["anyOf"]

    assert body["additionalProperties"] is False
    assert body["required"] == ["query"]
    assert (text["minLength"], texts["minItems"], texts["maxItems"]) == (1, 1, 128)
    assert text["pattern"] == texts["items"]["pattern"]
