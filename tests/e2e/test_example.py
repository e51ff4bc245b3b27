"""The example that the README applies: a real image, a real model, real pictures."""

import concurrent.futures
from collections.abc import Iterator

import httpx
import pytest

from in_cluster import forwarded, namespace, picture, wait_until_ready, wrong
from kubectl import Kubectl


@pytest.fixture(scope="module")
def example(cluster: Kubectl) -> Iterator[Kubectl]:
    """kubectl in a namespace where the example was applied and became Ready."""
    with namespace(cluster) as kubectl:
        kubectl("apply", "-f", "examples/diffusionservice.yaml")
        wait_until_ready(kubectl)
        yield kubectl


@pytest.fixture
def served(example: Kubectl) -> Iterator[httpx.Client]:
    with forwarded(example, "service/demo") as client:
        yield client


def test_the_example_draws_what_the_prompt_asks_for(example: Kubectl, served: httpx.Client) -> None:
    prompts = ["a red circle on a blue background", "two green squares", "a black cross on pink"]
    for seed, prompt in enumerate(prompts):
        answer = served.post("/predict", json={"prompt": prompt, "seed": seed})
        assert wrong(answer, prompt) == []
    about = served.get("/about").json()
    again = [served.post("/predict", json={"prompt": prompts[0], "seed": 7}) for _ in "ab"]
    assert (about["backend"], about["device"]) == ("fastapi", "cpu")
    assert about["revision"] == example.get("dsvc", "demo")["status"]["revision"]
    assert picture(again[0]) == picture(again[1])


def test_many_requests_at_once_are_answered_each_with_its_own_picture(
    served: httpx.Client,
) -> None:
    prompts = [f"a {colour} {shape}" for colour in ("red", "blue", "green", "black")
               for shape in ("circle", "square", "triangle")]  # fmt: skip
    with concurrent.futures.ThreadPoolExecutor(len(prompts)) as pool:
        bodies = [{"prompt": prompt, "seed": number} for number, prompt in enumerate(prompts)]
        answers = list(pool.map(lambda body: served.post("/predict", json=body), bodies))
    right = sum(not wrong(answer, prompt) for answer, prompt in zip(answers, prompts, strict=True))
    # The model itself draws about one in twenty wrong; swapped pictures would be many.
    assert right >= len(prompts) - 2
