"""The OpenAPI document promises what the service does: schemathesis makes requests of it, good and bad."""

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

load_all_checks()

# The tests of the token are in test_auth.py; here every request has one.
LEFT_OUT = {"ignored_auth", "missing_required_header"}
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
            case.call_and_validate(headers=dict(gemma.headers), checks=checks)

        keeps_its_promise()

    assert asked.count("/predict") >= 50


def test_the_schema_says_what_is_refused(gemma: httpx.Client) -> None:
    body = gemma.get("/openapi.json").json()["components"]["schemas"]["PredictRequest"]
    text, texts = body["properties"]["query"]["anyOf"]

    assert body["additionalProperties"] is False
    assert body["required"] == ["query"]
    assert (text["minLength"], texts["minItems"], texts["maxItems"]) == (1, 1, 128)
    assert text["pattern"] == texts["items"]["pattern"]
