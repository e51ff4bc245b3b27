import json
from pathlib import Path
from typing import Any

import pytest

from diffusion_loadtest.plan.load_plan import Auth, Prompts
from diffusion_loadtest.plan.prompts import BUILT_IN, prompts_of
from diffusion_loadtest.plan.reader import PlanError, api_key, load_plan, parse_plan
from diffusion_loadtest.plan.request_bodies import request_bodies

DOCUMENT: dict[str, Any] = {
    "version": 1,
    "test": {"name": "demo-load", "namespace": "default", "run": "3f2a9c"},
    "target": {"url": "http://demo.default.svc:80", "isAutoscaled": True},
    "users": {"stages": [{"users": 10, "durationSeconds": 30.0}], "spawnRate": 2.0},
    "think": {"minSeconds": 0.0, "maxSeconds": 0.0},
    "request": {
        "body": {"steps": 4, "guidance_scale": 2.0, "width": 128, "height": 128},
        "seed": {"policy": "fixed", "value": 7},
        "timeoutSeconds": 60.0,
        "decodeShare": 0.5,
    },
    "connections": {"reuse": "Always"},
    "prompts": {"inline": ["a red circle"], "file": None},
    "auth": {"apiKeyFile": "/etc/key", "apiKeyVariable": None},
    "minRequests": 3000,
    "warmup": {"requests": 20, "durationSeconds": None},
    "workers": 3,
    "slo": {
        "p50Seconds": 3.0,
        "p95Seconds": 8.0,
        "p99Seconds": None,
        "maxFailureRatio": 0.01,
        "minRequestsPerSecond": 2.0,
    },
    "webUi": True,
    "randomSeed": "study/1",
    "report": {"configMap": "demo-load-loadtest"},
}
ARRIVALS: dict[str, Any] = {
    "stages": [{"ratePerSecond": 2.5, "durationSeconds": 60.0}],
    "distribution": "poisson",
}
SEARCH: dict[str, Any] = {"over": "users", "min": 1.0, "max": 100.0, "probeSeconds": 60.0}


def changed(path: str, value: Any) -> str:
    document = json.loads(json.dumps(DOCUMENT))
    *parents, last = path.split(".")
    place = document
    for parent in parents:
        place = place[int(parent)] if isinstance(place, list) else place[parent]
    place[last] = value
    return json.dumps(document)


def test_full_plan_is_read_and_written_alike() -> None:
    plan = parse_plan(json.dumps(DOCUMENT))
    assert plan.model_dump(by_alias=True, mode="json") == DOCUMENT | {
        "arrivals": None,
        "search": None,
    }


@pytest.mark.parametrize(
    "load",
    [
        {"users": None, "arrivals": ARRIVALS},
        {"users": None, "arrivals": ARRIVALS | {"distribution": "constant"}},
        {"users": None, "minRequests": None, "search": SEARCH},
        {"users": None, "minRequests": None, "search": SEARCH | {"over": "rate", "min": 0.5}},
    ],
)
def test_other_loads_are_read_and_written_alike(load: dict[str, Any]) -> None:
    document = {"arrivals": None, "search": None} | DOCUMENT | load
    plan = parse_plan(json.dumps(document))
    assert plan.model_dump(by_alias=True, mode="json") == document


@pytest.mark.parametrize(
    ("load", "sentence"),
    [
        ({"arrivals": ARRIVALS}, "set exactly one of users, arrivals and search"),
        ({"users": None}, "set exactly one of users, arrivals and search"),
        ({"users": None, "search": SEARCH}, "minRequests prolongs the last stage"),
        (
            {"users": None, "search": SEARCH, "minRequests": None, "slo": None},
            "a search needs an slo: set a limit",
        ),
        ({"users": None, "search": SEARCH | {"max": 1}}, "search: min (1) is not below max (1)"),
        ({"users": None, "search": SEARCH | {"min": 1.5}}, "search: min and max count users"),
        (
            {"users": None, "arrivals": ARRIVALS | {"distribution": "normal"}},
            "arrivals.distribution: input should be 'poisson' or 'constant'",
        ),
    ],
)
def test_load_that_cannot_be_generated_is_refused(load: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PlanError) as caught:
        parse_plan(json.dumps(DOCUMENT | load))
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("version", 2, "version: input should be 1"),
        ("target.url", "demo.default.svc", "target.url: write it as http://HOST"),
        ("target.url", "http://demo:eighty", "target.url: write it as http://HOST"),
        ("target.url", "http://me:secret@demo", "target.url: leave out user"),
        ("users.stages", [], "users.stages: tuple should have at least 1 item"),
        ("users.stages.0.users", 0, "users.stages.0.users: input should be greater than or equal"),
        ("users.stages.0.durationSeconds", 0, "durationSeconds: input should be greater than 0"),
        ("users.spawnRate", 0, "users.spawnRate: input should be greater than 0"),
        ("think.minSeconds", 2, "think: minSeconds (2) is above maxSeconds (0)"),
        ("request.timeoutSeconds", -1, "request.timeoutSeconds: input should be greater"),
        ("request.body.prompt", "x", "request.body: leave the prompt out"),
        ("prompts.file", "/x", "prompts: inline and file are both set: keep one"),
        ("prompts.inline", [], "prompts.inline: tuple should have at least 1 item"),
        ("prompts.inline", [""], "prompts.inline.0: string should have at least 1 character"),
        ("requests", {}, "requests: extra inputs are not permitted"),
        ("request.body.seed", 1, "request.body: leave the seed out: write it as request.seed"),
        ("request.seed.value", None, "request.seed: give a value with the policy fixed"),
        ("request.seed.policy", "random", "request.seed: give a value with the policy fixed"),
        ("request.decodeShare", 2, "request.decodeShare: input should be less than or equal to 1"),
        ("connections.reuse", "Sometimes", "connections.reuse"),
        ("connections.reuse", 0, "connections.reuse"),
        ("auth.apiKeyVariable", "KEY", "auth: set one of apiKeyFile and apiKeyVariable"),
        ("warmup.durationSeconds", 5, "warmup: set one of requests and durationSeconds"),
        ("workers", 0, "workers: input should be greater than or equal to 1"),
        ("slo", {}, "slo: no limit is set"),
        ("slo.maxFailureRatio", 1.5, "slo.maxFailureRatio: input should be less than or equal"),
    ],
)
def test_bad_field_is_named_with_what_to_write(path: str, value: Any, sentence: str) -> None:
    with pytest.raises(PlanError) as caught:
        parse_plan(changed(path, value))
    assert str(caught.value).startswith("The load plan is not valid: ")
    assert sentence in str(caught.value)


def test_error_quotes_no_prompt() -> None:
    with pytest.raises(PlanError) as caught:
        parse_plan(changed("prompts.inline", ["a secret scene", 7]))
    assert "prompts.inline.1" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_plan_comes_from_the_file_or_else_the_variable(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(changed("test.name", "from-file"))
    variables = {"DIFFUSION_LOAD_PLAN": changed("test.name", "from-variable")}
    assert load_plan(path, variables).test.name == "from-file"
    assert load_plan(None, variables).test.name == "from-variable"
    with pytest.raises(PlanError, match="give --plan FILE or set the variable"):
        load_plan(None, {})
    with pytest.raises(PlanError, match="cannot be read"):
        load_plan(tmp_path / "none", variables)


def test_each_body_is_the_fixed_fields_and_its_own_prompt() -> None:
    plan = parse_plan(json.dumps(DOCUMENT))
    bodies = [json.loads(body) for body in request_bodies(plan, ("a red circle", "ein Kürbis"))]
    assert [body.pop("prompt") for body in bodies] == ["a red circle", "ein Kürbis"]
    assert bodies[0] == bodies[1] == DOCUMENT["request"]["body"] | {"seed": 7}


def test_key_is_the_files_first_line_or_the_variables_value(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("a-key \nan-older-key\n")
    assert api_key(Auth(api_key_file=str(path))) == "a-key"
    assert api_key(Auth(api_key_variable="KEY"), {"KEY": "b-key"}) == "b-key"
    assert api_key(None) is None


@pytest.mark.parametrize("content", ["", "\n", "schlüssel"])
def test_missing_key_is_reported_and_not_quoted(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    for auth in (
        Auth(api_key_file=str(path)),
        Auth(api_key_file=str(tmp_path / "none")),
        Auth(api_key_variable="KEY"),
    ):
        with pytest.raises(PlanError, match="API key") as caught:
            api_key(auth, {})
        assert "schl" not in str(caught.value)


def test_built_in_prompts_are_many_and_distinct() -> None:
    assert prompts_of(Prompts()) is BUILT_IN
    assert len(set(BUILT_IN)) == len(BUILT_IN) >= 200
    assert all(10 < len(prompt) < 120 for prompt in BUILT_IN)


def test_prompts_of_a_file_are_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "prompts"
    path.write_text("a red circle\n\n  a blue square \n")
    assert prompts_of(Prompts(file=str(path))) == ("a red circle", "a blue square")
    path.write_text("\n \n")
    with pytest.raises(PlanError, match="holds no prompt: write one a line"):
        prompts_of(Prompts(file=str(path)))
    with pytest.raises(PlanError, match="cannot be read"):
        prompts_of(Prompts(file=str(tmp_path / "none")))
