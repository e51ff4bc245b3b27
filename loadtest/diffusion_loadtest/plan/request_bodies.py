"""The JSON bodies of a plan's requests."""

import json

from diffusion_loadtest.plan.load_plan import LoadPlan


def request_bodies(plan: LoadPlan, prompts: tuple[str, ...]) -> tuple[bytes, ...]:
    """The JSON body of each prompt's request, encoded once for the whole run."""
    fixed = {"seed": plan.request.seed.value} if plan.request.seed.policy == "fixed" else {}
    return tuple(
        json.dumps({"prompt": prompt, **plan.request.body, **fixed}).encode("ascii")
        for prompt in prompts
    )
