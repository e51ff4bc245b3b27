"""Documents of the operator and of the other programs, fed to the model on the other side."""

import json
from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffusion_loadtest.plan.load_plan import LoadPlan as RunnersPlan
from diffusion_loadtest.report.load_report import Progress as RunnersProgress
from diffusion_loadtest.report.load_report import Report as RunnersReport
from diffusion_operator.api.diffusionservice import DiffusionServiceSpec, Scheduler
from diffusion_operator.api.loadtest import LoadTestSpec
from diffusion_operator.diffusionservice.specs.serving_config import serving_config
from diffusion_operator.documents.load_report import LoadProgress, LoadReport
from diffusion_operator.loadtest.specs.load_plan import load_plan
from diffusion_operator.settings import Accelerator
from diffusion_serving.documents.serving_config import ServingConfig as ServersConfig
from load_reports import nothing_answered, ramp, search

Object = dict[str, Any]

SIDES = st.integers(8, 64).map(lambda n: n * 8)
DECIMALS = st.decimals(0, 100, places=2).map(str)
DURATIONS = st.builds("{}{}".format, st.integers(1, 60), st.sampled_from(["s", "m"]))


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Object]:
    """Any subset of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


SOURCES = [
    "image:///models/demo",
    "pvc://weights/sd",
    "pvc://weights",
    "hf://owner/model",
    "s3://bucket/model",
    "gs://bucket/model",
]
LORAS: st.SearchStrategy[Object] = st.fixed_dictionaries(
    {"name": st.sampled_from("abcd"), "source": st.sampled_from([*SOURCES, "pvc://others/x"])},
    optional={"scale": st.decimals(0, 4, places=2).map(str)},
)
MODELS: st.SearchStrategy[Object] = st.fixed_dictionaries(
    {"source": st.sampled_from(SOURCES)},
    optional={
        "revision": st.sampled_from(["main", "refs/pr/1"]),
        "loras": st.lists(LORAS, max_size=3, unique_by=lambda lora: str(lora["name"])),
    },
)

SERVICES: st.SearchStrategy[Object] = st.fixed_dictionaries(
    {
        "backend": st.sampled_from(["fastapi", "litserve", "rayserve"]),
        "model": MODELS,
    },
    optional={
        "batching": some(
            mode=st.sampled_from(["engine", "none"]),
            maxSize=st.integers(1, 64),
            maxWaitMilliseconds=st.integers(0, 10000),
        ),
        "compile": st.sampled_from(["none", "regional", "full"]),
        "rayserve": some(topology=st.sampled_from(["pods", "cluster"])),
        "auth": st.just({"apiKeySecretRef": {"name": "keys", "key": "api"}}),
        "provenance": some(
            metadata=st.booleans(),
            contentCredentials=st.just({"certificateSecretRef": {"name": "signer"}}),
        ),
        "safety": some(
            checker=st.sampled_from(["None", "Model", "hf://acme/decent", "pvc://checkers/d"]),
            action=st.sampled_from(["Refuse", "Blur"]),
        ),
        "gpu": st.builds(dict, type=st.just("nvidia-l4"), count=st.integers(1, 16)),
        "precision": st.sampled_from(["float32", "bfloat16"]),
        "generation": some(
            steps=st.integers(1, 100),
            guidanceScale=DECIMALS,
            width=SIDES,
            height=SIDES,
            scheduler=st.sampled_from(get_args(Scheduler)),
        ),
        "limits": some(
            maxSteps=st.integers(100, 500),
            maxPixels=st.integers(512 * 512, 16777216),
            maxImagesPerRequest=st.integers(1, 64),
            maxPromptLength=st.integers(1, 10000),
        ),
        "queue": some(maxLength=st.integers(1, 10000), timeout=DURATIONS),
    },
)

RATES = st.decimals("0.01", 100, places=2).map(str)
LOADS = st.one_of(
    st.fixed_dictionaries(
        {
            "users": st.fixed_dictionaries(
                {
                    "stages": st.lists(
                        st.fixed_dictionaries(
                            {"users": st.integers(1, 10000), "duration": DURATIONS}
                        ),
                        min_size=1,
                        max_size=5,
                    )
                },
                optional={"spawnRate": RATES},
            )
        },
        optional={
            "think": some(min=DURATIONS, max=st.just("1h")),
            "minRequests": st.integers(1, 10000),
        },
    ),
    st.fixed_dictionaries(
        {
            "arrivals": st.fixed_dictionaries(
                {
                    "stages": st.lists(
                        st.fixed_dictionaries({"ratePerSecond": RATES, "duration": DURATIONS}),
                        min_size=1,
                        max_size=5,
                    )
                },
                optional={"distribution": st.sampled_from(["poisson", "constant"])},
            )
        },
        optional={"minRequests": st.integers(1, 10000)},
    ),
    st.fixed_dictionaries(
        {
            "search": st.one_of(
                st.just({"over": "users", "max": 64}),
                st.just({"over": "rate", "min": "0.5", "max": "20", "probe": "90s"}),
            ),
            "slo": some(p99=DURATIONS, maxFailureRatio=st.just("0.01")).map(
                lambda slo: {"p95": "8s", **slo}
            ),
        }
    ),
)
LOAD_TESTS = st.builds(
    lambda load, rest: {**rest, **load},
    LOADS,
    st.fixed_dictionaries(
        {"url": st.just("http://10.0.0.1:8000")},
        optional={
            "auth": st.just({"apiKeySecretRef": {"name": "keys", "key": "api"}}),
            "warmup": st.one_of(st.just({"requests": 20}), st.just({"duration": "30s"})),
            "workers": st.integers(1, 64),
            "webUI": st.booleans(),
            "slo": st.just({"p50": "3s", "minRequestsPerSecond": "2.5"}),
            "request": some(
                steps=st.integers(1, 500),
                guidanceScale=DECIMALS,
                width=SIDES,
                height=SIDES,
                images=st.integers(1, 64),
                format=st.sampled_from(["png", "jpeg", "webp"]),
                negativePrompt=st.just("text"),
                lora=st.just({"name": "sketch", "scale": "0.8"}),
                seed=st.one_of(
                    st.just({"policy": "random"}), st.just({"policy": "fixed", "value": 7})
                ),
                decodeShare=st.sampled_from(["0", "0.25", "1"]),
                timeoutSeconds=st.integers(1, 3600),
                prompts=st.one_of(
                    st.just({"configMapRef": {"name": "words"}}),
                    st.lists(st.text("abc ", min_size=1).map(lambda t: t + "x"), min_size=1).map(
                        lambda prompts: {"inline": prompts}
                    ),
                ),
            ),
        },
    ),
)


RANDOM = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)


@RANDOM
@given(SERVICES, st.sampled_from([None, "cuda", "cpu"]))
def test_the_server_reads_every_configuration_that_the_operator_writes(
    spec: Object, device: Any
) -> None:
    accelerator = Accelerator(resource_name="nvidia.com/gpu", device=device) if device else None
    if accelerator is None:
        spec = {name: value for name, value in spec.items() if name != "gpu"}
    written = serving_config(DiffusionServiceSpec.model_validate(spec), accelerator)
    text = written.model_dump_json(by_alias=True)
    read = ServersConfig.model_validate_json(text)
    assert json.loads(read.model_dump_json(by_alias=True, exclude_unset=True)) == json.loads(text)


@RANDOM
@given(LOAD_TESTS)
def test_the_runner_reads_every_plan_that_the_operator_writes(spec: Object) -> None:
    owner = {"metadata": {"name": "ramp", "namespace": "shop"}}
    parsed = LoadTestSpec.model_validate(spec)
    written = load_plan(owner, parsed, run="abc", target_url=parsed.url or "", report="ramp-lt")
    text = written.text()
    read = RunnersPlan.model_validate_json(text)
    assert json.loads(read.model_dump_json(by_alias=True, exclude_none=True)) == json.loads(text)


@pytest.mark.parametrize("made", [ramp, search, nothing_answered])
def test_the_operator_reads_what_the_runner_reports(made: Callable[[], Object]) -> None:
    written = RunnersReport.model_validate_json(json.dumps(made()))
    read = LoadReport.model_validate_json(written.model_dump_json(by_alias=True))
    assert read.summary.failures_by_kind == written.summary.failures_by_kind
    assert read.summary.max_users_within_slo == written.summary.max_users_within_slo
    assert [stage.p50 for stage in read.stages] == [stage.p50 for stage in written.stages]
    assert [stage.within_slo for stage in read.stages] == [
        stage.within_slo for stage in written.stages
    ]
    assert read.target.fingerprint == written.target.fingerprint
    assert read.valid is not None
    assert read.valid.reason == written.valid.reason
    assert (read.slo is None) == (written.slo is None)
    assert (read.error is None) == (written.error is None)


def test_the_operator_reads_the_runners_progress() -> None:
    progress = RunnersProgress.model_validate(
        {
            "version": 1,
            "run": "abc",
            "state": "Running",
            "stage": 1,
            "stages": 2,
            "users": 3,
            "requests": 4,
            "failures": 0,
            "requests_per_second": 1.0,
            "elapsed_seconds": 2.0,
            "message": None,
        },
        by_name=True,
    )
    read = LoadProgress.model_validate_json(progress.model_dump_json(by_alias=True))
    assert (read.stage, read.users) == (1, 3)
