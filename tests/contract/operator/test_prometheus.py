"""The operator's query to Prometheus, and its handling of each kind of answer."""

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import aiohttp
import pytest

from diffusion_operator.comparison import prometheus
from diffusion_operator.comparison.prometheus import NoFigureError, figure
from local_prometheus import Answer, LocalPrometheus, refusal, success, vector

AT = datetime(2026, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC)
ENERGY = "sum(increase(energy[60s])) / 1000"


@pytest.fixture
def local() -> Iterator[LocalPrometheus]:
    server = LocalPrometheus(lambda _: vector("1250.5"))
    yield server
    server.close()


@pytest.mark.parametrize("answer", [vector("1250.5"), success("scalar", [0, "1250.5"])])
async def test_an_instant_query_gives_one_number_at_its_time(
    local: LocalPrometheus, answer: Answer
) -> None:
    local.answer = lambda _: answer
    assert await figure(f"{local.url}/", ENERGY, AT) == 1250.5
    assert local.requests == [
        {"path": "/api/v1/query", "query": ENERGY, "time": f"{AT.timestamp():.3f}"}
    ]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (vector(), "has no sample for the query"),
        (vector("1", "2"), "gives 2 figures for the query: write sum(…) or avg(…)"),
        (vector("NaN"), "gives nan for the query"),
        (vector("+Inf"), "gives inf for the query"),
        (success("matrix", []), "gives a matrix for the query, which must give one number"),
        (refusal("parse error: no )"), "refused the query: parse error: no )"),
        ((200, "<html>"), "gave no answer of its API (HTTP 200)"),
        ((502, '"bad gateway"'), "gave no answer of its API (HTTP 502)"),
        (success("vector", [{"metric": {}}]), "gave no answer of its API (HTTP 200)"),
        (vector(*["1"] * 5000), "gives far more than one figure for the query"),
    ],
)
async def test_anything_else_is_no_figure_and_says_why(
    local: LocalPrometheus, answer: Answer, message: str
) -> None:
    local.answer = lambda _: answer
    with pytest.raises(NoFigureError) as error:
        await figure(local.url, ENERGY, AT)
    assert str(error.value) == message


async def test_unreachable_prometheus_is_no_figure() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(NoFigureError, match="could not be asked"):
            await figure(url, ENERGY, AT)


async def test_slow_prometheus_is_no_figure(
    local: LocalPrometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus, "_TIMEOUT", aiohttp.ClientTimeout(total=0.2))
    over = threading.Event()

    def never(_: str) -> Answer:
        over.wait(30)
        return vector("1")

    local.answer = never
    try:
        with pytest.raises(NoFigureError, match="did not answer within"):
            await figure(local.url, ENERGY, AT)
    finally:
        over.set()
