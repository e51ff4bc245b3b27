import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffusion_serving.documents.serving_config import Defaults, Limits, Lora, ServingConfig
from diffusion_serving.engine.image_request import MAX_SEED, ImageRequest, LoraUse
from diffusion_serving.http.requests.accept import negotiate
from diffusion_serving.http.requests.limits import resolve
from diffusion_serving.http.requests.predict import parse
from diffusion_serving.http.requests.predict_body import PredictRequest
from diffusion_serving.http.requests.schemas import request_schema
from diffusion_serving.http.responses.problems import Problem

LIMITS = Limits(max_steps=50, max_pixels=256 * 256, max_images_per_request=3, max_prompt_length=40)
DEFAULTS = Defaults(steps=4, guidance_scale=2.0, width=128, height=96)
LORAS = (Lora(name="ink", path=Path("/l/ink"), scale=0.8), Lora(name="oil", path=Path("/l/oil")))


def read(**fields: Any) -> ImageRequest:
    return resolve(parse(json.dumps(fields).encode()), LIMITS, DEFAULTS, LORAS)


def config_with(**document: Any) -> ServingConfig:
    limits = LIMITS.model_dump(by_alias=True)
    loras = [lora.model_dump(by_alias=True) for lora in LORAS]
    document = {"model": {"path": "/m", "loras": loras}, "limits": limits, **document}
    return ServingConfig.model_validate(document)


def test_prompt_alone_takes_the_defaults() -> None:
    request = read(prompt="a red circle")
    assert (request.steps, request.guidance_scale) == (4, 2.0)
    assert (request.width, request.height, request.negative_prompt) == (128, 96, "")
    assert len(request.seeds) == 1


def test_null_field_is_the_same_as_a_missing_one() -> None:
    fields: dict[str, Any] = dict.fromkeys(PredictRequest.model_fields)
    assert read(**{**fields, "prompt": "x", "seed": 7}) == read(prompt="x", seed=7)


def test_every_field_is_used() -> None:
    assert read(
        prompt="a",
        negative_prompt="b",
        steps=50,
        guidance_scale=0,
        width=256,
        height=256,
        seed=3,
        images=3,
        format="webp",
    ) == ImageRequest("a", "b", 50, 0.0, 256, 256, (3, 4, 5))


@pytest.mark.parametrize(
    ("lora", "used"),
    [
        ({"name": "ink"}, LoraUse("ink", 0.8)),
        ({"name": "ink", "scale": None}, LoraUse("ink", 0.8)),
        ({"name": "oil"}, LoraUse("oil", 1.0)),
        ({"name": "oil", "scale": 0.25}, LoraUse("oil", 0.25)),
        ({"name": "oil", "scale": 0}, None),
        (None, None),
    ],
)
def test_lora_is_applied_as_requested_or_as_configured(lora: Any, used: LoraUse | None) -> None:
    assert read(prompt="x", lora=lora).lora == used


def test_service_without_loras_says_so() -> None:
    with pytest.raises(Problem, match="the service has none, so leave the field out"):
        resolve(parse(b'{"prompt": "x", "lora": {"name": "ink"}}'), LIMITS, DEFAULTS)


def test_seed_is_random_if_not_given() -> None:
    assert len({read(prompt="x").seeds for _ in range(8)}) > 1


def test_seeds_of_a_request_wrap_around() -> None:
    assert read(prompt="x", seed=MAX_SEED, images=2).seeds == (MAX_SEED, 0)


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({}, "prompt", "is missing"),
        ({"prompt": ""}, "prompt", "is empty"),
        ({"prompt": " \t\n"}, "prompt", "is blank"),
        ({"prompt": 3}, "prompt", "valid string"),
        ({"prompt": ["x"]}, "prompt", "valid string"),
        ({"prompt": "x" * 41}, "prompt", "shorten it to 40"),
        ({"prompt": "x", "negative_prompt": "y" * 41}, "negative_prompt", "shorten it to 40"),
        ({"prompt": "x", "steps": 10_000}, "steps", "at most 50"),
        ({"prompt": "x", "steps": 0}, "steps", "greater than or equal to 1"),
        ({"prompt": "x", "steps": "4"}, "steps", "valid integer"),
        ({"prompt": "x", "steps": True}, "steps", "valid integer"),
        ({"prompt": "x", "guidance_scale": -1}, "guidance_scale", "greater than or equal to 0"),
        ({"prompt": "x", "width": 100}, "width", "multiple of 8"),
        ({"prompt": "x", "width": 0}, "width", "multiple of 8 from 64"),
        ({"prompt": "x", "height": -64}, "height", "multiple of 8 from 64"),
        ({"prompt": "x", "height": 10**12}, "height", "to 8192"),
        ({"prompt": "x", "width": 264, "height": 256}, "width", "at most 65536"),
        ({"prompt": "x", "seed": -1}, "seed", "greater than or equal to 0"),
        ({"prompt": "x", "seed": MAX_SEED + 1}, "seed", "less than or equal to"),
        ({"prompt": "x", "images": 4}, "images", "at most 3"),
        ({"prompt": "x", "images": 0}, "images", "greater than or equal to 1"),
        ({"prompt": "x", "format": "gif"}, "format", "'png', 'jpeg' or 'webp'"),
        ({"prompt": "x", "loras": {}}, "loras", "is not known; the fields are prompt, negative"),
        ({"prompt": "x", "lora": {}}, "lora.name", "is missing"),
        ({"prompt": "x", "lora": "ink"}, "lora", "should be an object"),
        (
            {"prompt": "x", "lora": {"name": "tar"}},
            "lora.name",
            "no LoRA of this service: the service has",
        ),
        ({"prompt": "x", "lora": {"name": "tar"}}, "lora.name", "the service has ink, oil"),
        ({"prompt": "x", "lora": {"name": "ink", "scale": 5}}, "lora.scale", "less than or equal"),
        ({"prompt": "x", "lora": {"name": "ink", "scale": -1}}, "lora.scale", "greater than or"),
        (
            {"prompt": "x", "lora": {"name": "ink", "size": 1}},
            "lora.size",
            "is not known; the fields are name, scale",
        ),
    ],
)
def test_wrong_field_is_refused_with_what_to_change(
    fields: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(Problem) as refused:
        read(**fields)
    (error,) = refused.value.errors
    assert refused.value.kind.status == 422
    assert error.field == field
    assert words in error.detail
    assert words in refused.value.detail


def test_all_wrong_fields_are_named_at_once() -> None:
    with pytest.raises(Problem) as refused:
        read(prompt="", steps=-1, surprise=1)
    assert {error.field for error in refused.value.errors} == {"prompt", "steps", "surprise"}


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"prompt": "\\ud800"}'])
def test_body_that_is_not_json_is_malformed(body: bytes) -> None:
    with pytest.raises(Problem) as refused:
        parse(body)
    assert refused.value.kind.status == 400


def test_guidance_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(Problem, match="guidance_scale should be a finite number"):
        parse(b'{"prompt": "x", "guidance_scale": NaN}')


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"1"])
def test_json_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(Problem, match="object"):
        parse(body)


# A short alphabet, because preparing all of Unicode takes longer than all these tests.
TEXT = st.text("ab \t\0\x7f\u00e9\u4e2d\U0001f3a8", max_size=50)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
FUZZ = settings(derandomize=True, deadline=None, database=None)


def problem_of(call: Callable[[], object]) -> Problem | None:
    """The problem that a call raises, or None; any other exception fails the test."""
    try:
        call()
    except Problem as problem:
        return problem
    return None


@FUZZ
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "prompt": TEXT | JSON,
            "negative_prompt": TEXT | JSON,
            "steps": st.integers(-2, 60) | JSON,
            "guidance_scale": st.floats(-1, 101) | JSON,
            "width": st.integers(0, 40).map(lambda n: n * 8) | JSON,
            "height": st.integers(0, 40).map(lambda n: n * 8) | JSON,
            "seed": st.integers(-1, MAX_SEED + 1) | JSON,
            "images": st.integers(-1, 5) | JSON,
            "format": st.sampled_from(["png", "jpeg", "gif"]) | JSON,
            "lora": st.fixed_dictionaries({"name": st.sampled_from(["ink", "tar"]) | JSON}) | JSON,
            "surprise": JSON,
        },
    )
)
def test_any_object_is_either_refused_or_within_the_limits(fields: dict[str, Any]) -> None:
    if problem := problem_of(lambda: read(**fields)):
        assert problem.kind.status in (400, 422)
        assert json.loads(problem.body())["detail"]
        return
    request = read(**fields)
    assert request.prompt.strip()
    assert len(request.prompt) <= 40
    assert 1 <= request.steps <= 50
    assert request.width * request.height <= 256 * 256
    assert request.width % 8 == request.height % 8 == 0
    assert 1 <= len(request.seeds) <= 3
    assert all(0 <= seed <= MAX_SEED for seed in request.seeds)


@FUZZ
@given(st.binary(max_size=64))
def test_any_bytes_are_either_refused_or_a_request(body: bytes) -> None:
    if problem := problem_of(lambda: parse(body)):
        assert problem.kind.status in (400, 422)


def test_texts_never_show_in_a_representation() -> None:
    request = read(prompt="a secret wish", negative_prompt="a secret fear")
    assert "secret" not in repr(request)


@pytest.mark.parametrize(
    ("accept", "image_bytes", "image_format"),
    [
        (None, False, "png"),
        ("*/*", False, "png"),
        ("application/json", False, "png"),
        ("image/png", True, "png"),
        ("image/jpeg", True, "jpeg"),
        ("image/webp, application/json;q=0.5", True, "webp"),
        ("image/webp;q=0.2, application/json", False, "png"),
        ("text/html, image/*;q=0.9, */*;q=0.8", True, "png"),
        ("IMAGE/PNG", True, "png"),
    ],
)
def test_accept_header_picks_the_answer(
    accept: str | None, image_bytes: bool, image_format: str
) -> None:
    answer = negotiate(accept, PredictRequest(prompt="x"))
    assert (answer.image_bytes, answer.format) == (image_bytes, image_format)


def test_any_image_is_in_the_format_of_the_request() -> None:
    assert negotiate("image/*", PredictRequest(prompt="x", format="webp")).format == "webp"


@pytest.mark.parametrize("accept", ["text/html", "image/gif", "image/png;q=0", "nonsense", "a;q=b"])
def test_unknown_type_is_not_acceptable(accept: str) -> None:
    with pytest.raises(Problem) as refused:
        negotiate(accept, PredictRequest(prompt="x"))
    assert refused.value.kind.status == 406


def test_bytes_of_several_images_are_refused() -> None:
    with pytest.raises(Problem, match="accept application/json"):
        negotiate("image/png", PredictRequest(prompt="x", images=2))


def test_format_against_the_accept_header_is_refused() -> None:
    with pytest.raises(Problem, match="leave one of them out"):
        negotiate("image/png", PredictRequest(prompt="x", format="jpeg"))


@FUZZ
@given(st.text("image/png*,;q=0.1json ", max_size=40))
def test_any_accept_header_is_answered_or_refused(accept: str) -> None:
    if problem := problem_of(lambda: negotiate(accept, PredictRequest(prompt="x"))):
        assert problem.kind.status == 406


def test_schema_shows_the_limits_and_defaults_of_the_service() -> None:
    schema = request_schema(config_with(generation={"steps": 7, "width": 256}))
    fields = schema["properties"]
    assert set(fields) == set(PredictRequest.model_fields)
    assert schema["required"] == ["prompt"]
    assert schema["additionalProperties"] is False
    assert (fields["steps"]["maximum"], fields["steps"]["default"]) == (50, 7)
    assert fields["prompt"]["maxLength"] == 40
    assert fields["images"]["maximum"] == 3
    assert fields["width"]["default"] == 256
    assert "default" not in fields["height"]
    assert fields["format"]["enum"] == ["png", "jpeg", "webp", None]
    assert fields["lora"]["properties"]["name"]["enum"] == ["ink", "oil"]


def test_schema_of_a_service_without_loras_has_no_field_for_them() -> None:
    assert "lora" not in request_schema(config_with(model={"path": "/m"}))["properties"]


SCHEMA = jsonschema_rs.Draft202012Validator(request_schema(config_with()))


@FUZZ
@given(
    st.fixed_dictionaries(
        {"prompt": st.text("ab \u00e9", max_size=45)},
        optional={
            "negative_prompt": st.none() | st.text("ab", max_size=45),
            "steps": st.none() | st.integers(-1, 60) | st.booleans(),
            "guidance_scale": st.none() | st.integers(-1, 101) | st.floats(-1, 101),
            "width": st.none() | st.integers(7, 33).map(lambda n: n * 8) | st.integers(64, 256),
            "height": st.none() | st.integers(7, 33).map(lambda n: n * 8) | st.integers(64, 256),
            "seed": st.none() | st.integers(-1, MAX_SEED + 1),
            "images": st.none() | st.integers(0, 4),
            "format": st.none() | st.sampled_from(["png", "jpeg", "webp", "gif"]),
            "lora": st.none()
            | st.fixed_dictionaries(
                {"name": st.sampled_from(["ink", "oil", "tar"])},
                optional={"scale": st.none() | st.floats(-1, 5), "more": st.none()},
            ),
            "surprise": st.none(),
        },
    )
)
def test_schema_allows_the_requests_that_are_served_and_no_others(fields: dict[str, Any]) -> None:
    problem = problem_of(lambda: read(**fields))
    too_large = problem is not None and "times height" in problem.detail
    assert SCHEMA.is_valid(fields) == (problem is None or too_large)
