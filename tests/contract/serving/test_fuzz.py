"""Requests that the service's own description allows, and requests that it doesn't."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import positive_data_acceptance

from serving_process import VARIANTS, Server, Variant

FEW_STEPS = 4
SECONDS = 120
UNSAID = {200, 400, 404, 422}
"""What may come of a request that fits the description: it can't say that width times height has a
limit, nor which models there are."""


def swift(body: Any) -> Any:
    """The same body with few steps, if it asks for a number of them that is allowed."""
    steps = body.get("steps") if isinstance(body, dict) else None
    if isinstance(steps, int) and FEW_STEPS < steps <= 500:
        return body | {"steps": FEW_STEPS}
    return body


def operations(url: str) -> Iterator[tuple[Any, GenerationMode]]:
    """What can be asked, in ways that fit the description and in others."""
    for result in schemathesis.openapi.from_url(url).get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr] # what is not ok fails here
        for mode in GenerationMode:
            # Without a parameter or a body there is nothing that wouldn't fit.
            if mode.is_positive or operation.method == "post":
                yield operation, mode


def ask_much(operation: Any, mode: GenerationMode, examples: int) -> None:
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
        response = case.call_and_validate(
            excluded_checks=[positive_data_acceptance], timeout=SECONDS
        )
        assert response.status_code in UNSAID or not mode.is_positive

    ask()


def fuzz(server: Server, examples: int) -> None:
    for operation, mode in operations(f"{server.url}/openapi.json"):
        ask_much(operation, mode, examples)


@pytest.fixture
def fuzzed(request: pytest.FixtureRequest, variant: Variant) -> Server:
    """FastAPI's with the tiny model, so that one real pipeline gets it all; the others' without."""
    found: Server = request.getfixturevalue("server" if variant == VARIANTS[0] else "quick")
    return found


def test_nothing_that_is_sent_is_an_error_of_the_server(fuzzed: Server) -> None:
    fuzz(fuzzed, 12)
    assert fuzzed.predict(prompt="x").status_code == 200


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_nothing_of_very_much_that_is_sent_is_an_error_of_the_server(server: Server) -> None:
    fuzz(server, 500)
    assert server.predict(prompt="x").status_code == 200
