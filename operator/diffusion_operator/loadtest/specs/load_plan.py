"""Load plan of a spec, and its longest duration."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.fields import seconds
from diffusion_operator.api.load import (
    Arrivals,
    Connections,
    LoadSpec,
    Search,
    Slo,
    Think,
    Users,
    Warmup,
)
from diffusion_operator.api.load_request import Request
from diffusion_operator.documents.load_plan import (
    ConnectionReuse,
    Credentials,
    LoadArrivals,
    LoadPlan,
    LoadRequest,
    LoadSearch,
    LoadSeed,
    LoadStage,
    LoadTarget,
    LoadUsers,
    PromptSource,
    RateStage,
    ReportSink,
    SloLimits,
    TestIdentity,
    ThinkTime,
    WarmupLoad,
)
from diffusion_operator.kube.objects import RANDOM_SEED_ANNOTATION

PROMPTS_MOUNT = "/etc/diffusion-loadtest/prompts"
API_KEY_VARIABLE = "DIFFUSION_LOAD_API_KEY"
# A search has at most twenty probes; each may settle before and drain after its measurement.
PROBES = 20
_LONGEST_SEED = 253
PROBE_LENGTHS = 3


def load_plan(
    owner: Mapping[str, Any],
    spec: LoadSpec,
    *,
    run: str,
    target_url: str,
    report: str,
    is_autoscaled: bool = False,
) -> LoadPlan:
    """Load plan of a run against that target; ``report`` names its ConfigMap."""
    meta = owner["metadata"]
    return LoadPlan(
        test=TestIdentity(name=meta["name"], namespace=meta["namespace"], run=run),
        target=LoadTarget(url=target_url, is_autoscaled=is_autoscaled),
        users=_users(spec.users) if spec.users else None,
        arrivals=_arrivals(spec.arrivals) if spec.arrivals else None,
        search=_search(spec.search) if spec.search else None,
        think=_think(spec.think or Think()),
        request=_request(spec.request),
        connections=_connections(spec.connections),
        prompts=_prompts(spec.request),
        auth=Credentials(api_key_variable=API_KEY_VARIABLE) if spec.auth else None,
        min_requests=spec.min_requests,
        warmup=_warmup(spec.warmup) if spec.warmup else None,
        workers=spec.workers,
        slo=_slo(spec.slo) if spec.slo else None,
        web_ui=spec.web_ui,
        random_seed=_random_seed(meta),
        report=ReportSink(config_map=report),
    )


def _random_seed(meta: Mapping[str, Any]) -> str | None:
    """Seed of the run's random numbers; None lets each run draw its own."""
    seed = (meta.get("annotations") or {}).get(RANDOM_SEED_ANNOTATION)
    return seed[:_LONGEST_SEED] if seed else None


def longest_seconds(spec: LoadSpec) -> float:
    """Longest duration of the load: every request at its timeout, every probe made."""
    timeout = float(spec.request.timeout_seconds)
    warmup = _longest_warmup(spec, timeout)
    if spec.search:
        probe = seconds(spec.search.probe)
        return warmup + PROBES * (PROBE_LENGTHS * probe + timeout)
    stages = spec.users.stages if spec.users else spec.arrivals.stages if spec.arrivals else ()
    planned = sum(seconds(stage.duration) for stage in stages)
    return warmup + planned + _longest_extension(spec, timeout) + timeout


def _longest_warmup(spec: LoadSpec, timeout: float) -> float:
    if spec.warmup is None:
        return 0.0
    if spec.warmup.duration is not None:
        return seconds(spec.warmup.duration) + timeout
    users = spec.users.stages[0].users if spec.users else 1
    return (spec.warmup.requests or 0) * timeout / users + timeout


def _longest_extension(spec: LoadSpec, timeout: float) -> float:
    """Longest extension of the last stage for ``minRequests``."""
    if spec.min_requests is None:
        return 0.0
    if spec.arrivals:
        return spec.min_requests / float(spec.arrivals.stages[-1].rate_per_second)
    users = spec.users.stages[-1].users if spec.users else 1
    think = _think(spec.think or Think()).max_seconds
    return spec.min_requests * (timeout + think) / users


def _users(users: Users) -> LoadUsers:
    return LoadUsers(
        stages=tuple(
            LoadStage(users=stage.users, duration_seconds=seconds(stage.duration))
            for stage in users.stages
        ),
        spawn_rate=float(users.spawn_rate),
    )


def _arrivals(arrivals: Arrivals) -> LoadArrivals:
    return LoadArrivals(
        stages=tuple(
            RateStage(
                rate_per_second=float(stage.rate_per_second),
                duration_seconds=seconds(stage.duration),
            )
            for stage in arrivals.stages
        ),
        distribution=arrivals.distribution,
    )


def _search(search: Search) -> LoadSearch:
    return LoadSearch(
        over=search.over,
        min=float(search.min or 1),
        max=float(search.max),
        probe_seconds=seconds(search.probe),
    )


def _think(think: Think) -> ThinkTime:
    shortest, longest = seconds(think.min), seconds(think.max)
    return ThinkTime(min_seconds=shortest, max_seconds=max(shortest, longest))


def _request(request: Request) -> LoadRequest:
    lora = request.lora
    fields = {
        "steps": request.steps,
        "guidance_scale": _decimal(request.guidance_scale),
        "width": request.width,
        "height": request.height,
        "images": request.images,
        "format": request.format,
        "negative_prompt": request.negative_prompt,
        "lora": None if lora is None else _given(name=lora.name, scale=_decimal(lora.scale)),
    }
    return LoadRequest(
        body=_given(**fields),
        seed=LoadSeed(policy=request.seed.policy, value=request.seed.value),
        timeout_seconds=float(request.timeout_seconds),
        decode_share=float(request.decode_share),
    )


def _connections(connections: Connections) -> ConnectionReuse:
    reuse = connections.reuse
    return ConnectionReuse(reuse=seconds(reuse) if reuse[0].isdigit() else reuse)


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _decimal(text: str | None) -> float | None:
    return None if text is None else float(text)


def _prompts(request: Request) -> PromptSource:
    prompts = request.prompts
    if prompts is None:
        return PromptSource()
    if prompts.config_map_ref is not None:
        return PromptSource(file=f"{PROMPTS_MOUNT}/{prompts.config_map_ref.key}")
    return PromptSource(inline=prompts.inline)


def _warmup(warmup: Warmup) -> WarmupLoad:
    if warmup.duration is not None:
        return WarmupLoad(duration_seconds=seconds(warmup.duration))
    return WarmupLoad(requests=warmup.requests)


def _slo(slo: Slo) -> SloLimits:
    def limit(latency: str | None) -> float | None:
        return None if latency is None else seconds(latency)

    return SloLimits(
        p50_seconds=limit(slo.p50),
        p95_seconds=limit(slo.p95),
        p99_seconds=limit(slo.p99),
        max_failure_ratio=float(slo.max_failure_ratio),
        min_requests_per_second=_decimal(slo.min_requests_per_second),
    )
