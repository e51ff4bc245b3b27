"""Random requests that fit the service's OpenAPI document, and random requests that don't."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import negative_data_rejection, positive_data_acceptance

from serving_process import VARIANTS, Server, Variant

FEW_STEPS = 4
SECONDS = 120
VALID_STATUSES = {200, 400, 404, 422}
"""Statuses of a request that fits the document.

The document can't express that width times height has a limit, nor which models there are.
"""


def swift(body: Any) -> Any:
    """The body with few steps, where it has an allowed number of steps."""
    steps = body.get("steps") if isinstance(body, dict) else None
    if isinstance(steps, int) and FEW_STEPS < steps <= 500:
        return body | {"steps": FEW_STEPS}
    return body


def operations(url: str) -> Iterator[tuple[Any, GenerationMode]]:
    """Yields each operation, with requests that fit the document and with requests that don't."""
    for result in schemathesis.openapi.from_url(url).get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr] # an error is raised here
        is_json = any(body.media_type == "application/json" for body in operation.body)
        for mode in GenerationMode:
            # Without a parameter or a JSON body there is no request that doesn't fit.
            if mode.is_positive or is_json:
                yield operation, mode


def ask_much(operation: Any, mode: GenerationMode, examples: int) -> None:
    excluded = [positive_data_acceptance]
    if mode.is_positive:  # schemathesis takes its own PNG for one that doesn't fit
        excluded.append(negative_data_rejection)

    @settings(
        max_examples=examples if operation.method == "post" else 1,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        case.body = swift(case.body)
        response = case.call_and_validate(excluded_checks=excluded, timeout=SECONDS)
        assert response.status_code in VALID_STATUSES or not mode.is_positive

    ask()


def fuzz(server: Server, examples: int) -> None:
    for operation, mode in operations(f"{server.url}/openapi.json"):
        ask_much(operation, mode, examples)


@pytest.fixture
def fuzzed(request: pytest.FixtureRequest, variant: Variant) -> Server:
    """A server on the stand-in, but of FastAPI one with a real pipeline."""
    chosen: Server = request.getfixturevalue("server" if variant == VARIANTS[0] else "quick")
    return chosen


def test_nothing_that_is_sent_is_an_error_of_the_server(fuzzed: Server) -> None:
    fuzz(fuzzed, 12)
    assert fuzzed.predict(prompt="x").status_code == 200


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_nothing_of_very_much_that_is_sent_is_an_error_of_the_server(server: Server) -> None:
    fuzz(server, 500)
    assert server.predict(prompt="x").status_code == 200
