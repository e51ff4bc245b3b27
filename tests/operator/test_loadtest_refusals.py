"""LoadTests that the API server refuses, with a sentence about the remedy."""

from typing import Any

import pytest

from kubectl import Kubectl, KubectlError
from manifests import load_test

Object = dict[str, Any]
ARRIVALS = {"stages": [{"ratePerSecond": "2.5", "duration": "60s"}]}
SEARCH = {"over": "users", "max": 64}
SLO = {"p95": "8s"}


def loaded(**spec: Any) -> Object:
    """A spec without the manifest's default users."""
    return {"users": None, **spec}


@pytest.mark.parametrize(
    "spec",
    [
        loaded(arrivals=ARRIVALS, minRequests=3000),
        loaded(search=SEARCH, slo=SLO, think={"max": "2s"}),
        loaded(search={"over": "rate", "min": "0.5", "max": "20", "probe": "90s"}, slo=SLO),
        loaded(search={"over": "users", "min": 2, "max": "64"}, slo=SLO),
        {"warmup": {"requests": 20}, "workers": 3, "slo": {"maxFailureRatio": "0.01"}},
        {"request": {"seed": {"policy": "fixed", "value": 7}, "decodeShare": "1"}},
        {"auth": {"apiKeySecretRef": {"name": "keys", "key": "api"}}, "webUI": True},
        {"connections": {"reuse": "PerRequest"}},
        loaded(arrivals={"stages": [{"ratePerSecond": 2.5, "duration": "60s"}]}),
        {"users": {"stages": [{"users": 1, "duration": "9s"}], "spawnRate": 10}},
        {"slo": {"maxFailureRatio": 0.01, "minRequestsPerSecond": 2.5}},
        {"request": {"lora": {"name": "sketch", "scale": 0.8}, "decodeShare": 0.1}},
        {"connections": {"reuse": "1m30s"}},
        {"rerun": "OnTargetChange", "historyLimit": 0, "suspend": True},
    ],
)
def test_a_good_load_test_is_accepted(kubectl: Kubectl, spec: Object) -> None:
    kubectl.apply(load_test(**spec))


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"arrivals": ARRIVALS}, "exactly one of them"),
        (loaded(), "exactly one of them"),
        (loaded(search=SEARCH), "a search needs spec.slo to search within"),
        (loaded(search=SEARCH, slo={}), "spec.slo in body should have at least 1 properties"),
        (loaded(search={**SEARCH, "max": 0}, slo=SLO), "a load is above 0"),
        (loaded(search={**SEARCH, "max": "many"}, slo=SLO), "write a number of users such as 64"),
        (loaded(search={**SEARCH, "max": "2.5"}, slo=SLO), "users are whole numbers"),
        (loaded(search={**SEARCH, "min": 64}, slo=SLO), "search.max must be above search.min"),
        (loaded(search={**SEARCH, "max": 1}, slo=SLO), "search.max must be above search.min"),
        (loaded(search={"over": "rate", "max": "9"}, slo=SLO), "say search.min for a rate"),
        (loaded(search=SEARCH, slo=SLO, minRequests=9), "and a search has none"),
        (loaded(arrivals={"stages": []}), "write at least one stage"),
        (
            loaded(arrivals={"stages": [{"ratePerSecond": "0", "duration": "60s"}]}),
            "a decimal number, above 0, at most 10000, such as",
        ),
        (loaded(arrivals=ARRIVALS, think={"max": "2s"}), "think is a pause of users"),
        ({"slo": {"p95": "8"}}, "write a duration such as 90s"),
        ({"slo": {"p95": "8 seconds"}}, "write a duration such as 90s"),
        ({"slo": {"p95": "0s"}}, "between 1ms and 1h"),
        ({"slo": {"maxFailureRatio": "1%"}}, "a decimal number, at most 1, such as"),
        ({"slo": {"maxFailureRatio": "2"}}, "a decimal number, at most 1, such as"),
        ({"slo": {"minRequestsPerSecond": "fast"}}, "a decimal number, above 0, at most"),
        ({"warmup": {}}, "set exactly one of warmup.requests and warmup.duration"),
        ({"warmup": {"requests": 1, "duration": "9s"}}, "set exactly one of warmup.requests"),
        ({"warmup": {"duration": "9 s"}}, "write a duration such as 90s"),
        ({"request": {"seed": {"policy": "fixed"}}}, "a seed's value goes with policy: fixed"),
        ({"request": {"seed": {"value": 7}}}, "a seed's value goes with policy: fixed"),
        ({"request": {"decodeShare": "5"}}, "a decimal number, at most 1, such as"),
        ({"request": {"prompts": {"inline": ["x" * 1000] * 21}}}, "at most 20000 characters"),
        ({"connections": {"reuse": "Never"}}, "write PerRequest, Always, or a duration"),
        ({"connections": {"reuse": "0s"}}, "write Always for the whole run, and PerRequest"),
        ({"workers": 0}, "greater than or equal to 1"),
        ({"rerun": "Always"}, 'supported values: "Never", "OnSpecChange", "OnTargetChange"'),
    ],
)
def test_a_bad_load_test_is_refused(refusing: Kubectl, spec: Object, sentence: str) -> None:
    with pytest.raises(KubectlError) as refused:
        refusing.apply(load_test(**spec))
    assert sentence in str(refused.value)
