"""The load plan that a spec amounts to."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.fields import seconds
from diffusion_operator.api.loadtest import LoadTestSpec, Request, Think, Users
from diffusion_operator.documents.load_plan import (
    LoadPlan,
    LoadRequest,
    LoadStage,
    LoadTarget,
    LoadUsers,
    PromptSource,
    ReportSink,
    TestIdentity,
    ThinkTime,
)

PROMPTS_MOUNT = "/etc/diffusion-loadtest/prompts"


def load_plan(
    owner: Mapping[str, Any], spec: LoadTestSpec, *, run: str, target_url: str, report: str
) -> LoadPlan:
    meta = owner["metadata"]
    return LoadPlan(
        test=TestIdentity(name=meta["name"], namespace=meta["namespace"], run=run),
        target=LoadTarget(url=target_url),
        users=_users(spec.users),
        think=_think(spec.think),
        request=_request(spec.request),
        prompts=_prompts(spec.request),
        report=ReportSink(config_map=report),
    )


def _users(users: Users | None) -> LoadUsers:
    if users is None:
        raise ValueError("a LoadTest without users passed the schema's validation")
    return LoadUsers(
        stages=tuple(
            LoadStage(users=stage.users, duration_seconds=seconds(stage.duration))
            for stage in users.stages
        ),
        spawn_rate=float(users.spawn_rate),
    )


def _think(think: Think) -> ThinkTime:
    shortest, longest = seconds(think.min), seconds(think.max)
    return ThinkTime(min_seconds=shortest, max_seconds=max(shortest, longest))


def _request(request: Request) -> LoadRequest:
    guidance = None if request.guidance_scale is None else float(request.guidance_scale)
    asked = {
        "steps": request.steps,
        "guidance_scale": guidance,
        "width": request.width,
        "height": request.height,
    }
    return LoadRequest(
        body={name: value for name, value in asked.items() if value is not None},
        timeout_seconds=float(request.timeout_seconds),
    )


def _prompts(request: Request) -> PromptSource:
    prompts = request.prompts
    if prompts is None:
        return PromptSource()
    if prompts.config_map_ref is not None:
        return PromptSource(file=f"{PROMPTS_MOUNT}/{prompts.config_map_ref.key}")
    return PromptSource(inline=prompts.inline)
