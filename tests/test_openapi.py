"""The OpenAPI document promises what the service does: schemathesis makes requests of it, good and bad."""

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import load_all_checks

load_all_checks()


@pytest.fixture
def document(gemma: httpx.Client):
    return schemathesis.openapi.from_url(f"{gemma.base_url}/openapi.json")


api = schemathesis.pytest.from_fixture("document")


@api.parametrize()
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_what_is_promised_is_kept(case: schemathesis.Case, gemma: httpx.Client) -> None:
    case.call_and_validate(headers=dict(gemma.headers))


def test_the_schema_says_what_is_refused(gemma: httpx.Client) -> None:
    body = gemma.get("/openapi.json").json()["components"]["schemas"]["PredictRequest"]
    text, texts = body["properties"]["query"]["anyOf"]

    assert body["additionalProperties"] is False
    assert body["required"] == ["query"]
    assert (text["minLength"], texts["minItems"], texts["maxItems"]) == (1, 1, 128)
    assert text["pattern"] == texts["items"]["pattern"]
