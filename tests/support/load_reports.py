"""Load reports as the runner writes them, with invented but plausible figures."""

import math
import random
from typing import Any

Object = dict[str, Any]
FINGERPRINT = {
    "backend": "fastapi",
    "revision": "7d9c5f6b8c",
    "model": "hf://CompVis/stable-diffusion-v1-4",
    "device": "cuda",
    "deviceName": "NVIDIA L4",
    "precision": "float16",
    "scheduler": "euler",
    "batching": "engine, at most 8",
    "steps": "4",
    "width": "512",
    "height": "512",
    "torch": "2.12.0",
    "diffusers": "0.42.0",
}
TIMINGS = ("queue", "textEncoder", "denoise", "vae", "encode", "other")


def ramp(
    run: str = "3f2a9c", users: tuple[int, ...] = (10, 20, 30), seconds: float = 120.0
) -> Object:
    """A report of users in stages, with rising latency and a few failures in the last."""
    rng = random.Random(run)
    duration = seconds * len(users)
    step = max(1.0, round(duration / 180))
    points, latencies, failures = [], [], 0
    t = 0.0
    while t < duration:
        at = users[min(int(t // seconds), len(users) - 1)]
        p50 = 700 + at * at * 9 + rng.uniform(-80, 80)
        rate = min(at / (p50 / 1000), 5.5) * rng.uniform(0.9, 1.1)
        failed = rng.random() < 0.05 if at > 20 else False
        failures += failed
        points.append(
            {
                "t": t,
                "users": at,
                "requestsPerSecond": round(rate, 2),
                "failuresPerSecond": round(1 / step, 2) if failed else 0.0,
                "p50": round(p50, 1),
                "p95": round(p50 * rng.uniform(1.3, 1.6), 1),
                "replicas": 2 if t < seconds else 3,
            }
        )
        latencies += [p50 * rng.lognormvariate(0, 0.25) for _ in range(round(rate * step))]
        t += step
    latencies.sort()
    requests = len(latencies) + failures
    summary = _figures(latencies, failures, duration)
    stages = [
        {
            **_figures(latencies[: len(latencies) * (n + 1) // len(users)], 0, seconds),
            "users": at,
            "ratePerSecond": None,
            "startSeconds": n * seconds,
            "durationSeconds": seconds,
            "timings": dict.fromkeys(TIMINGS, 120.5),
            "usersReached": at,
            "measuredFromSeconds": n * seconds + 15.0,
            "measuredSeconds": seconds - 15.0,
            "withinSlo": n < len(users) - 1,
            "overload": None,
        }
        for n, at in enumerate(users)
    ]
    p95 = summary["p95"]
    return {
        "version": 1,
        "run": run,
        "startTime": "2026-01-02T03:04:05Z",
        "completionTime": "2026-01-02T03:10:05Z",
        "target": {
            "url": "http://stable-diffusion.default.svc",
            "about": {"backend": "fastapi", "versions": {"torch": "2.12.0"}},
            "fingerprint": FINGERPRINT,
            "fingerprintId": "0123456789ab",
        },
        "summary": {
            **summary,
            "failuresByKind": {"Timeout": failures} if failures else {},
            "peakRequestsPerSecond": max(point["requestsPerSecond"] for point in points),
            "failuresPerSecond": round(failures / duration, 4),
            "seconds": duration,
            "max": latencies[-1],
            "maxUsers": max(users),
            "maxUsersWithinSlo": users[-2] if len(users) > 1 else None,
            "maxRateWithinSlo": None,
            "timings": {name: {"mean": 120.5, "p50": 110.0, "p95": 190.0} for name in TIMINGS},
        },
        "stages": stages,
        "window": {
            **stages[-1],
            "stage": len(stages),
            "intervals": {"p50": {"low": 900.0, "high": 1100.0, "draws": 40}},
        },
        "replicas": [
            {
                "name": f"demo-7d9c5f6b8c-{end}",
                "requests": count,
                "failures": 0,
                "share": count / 600,
                "p50": 900.0,
                "p95": 1300.0,
                "p99": None,
            }
            for end, count in (("x2x4z", 400), ("k8v7q", 120), ("m5n9b", 80))
        ],
        "timeline": points,
        "histogram": {"maxRelativeError": 0.001, "buckets": _buckets(latencies)},
        "search": None,
        "valid": {
            "status": True,
            "reason": "Measured",
            "message": f"{requests} requests from an unhurried client",
            "also": [],
        },
        "slo": {
            "met": p95 <= 8000,
            "reason": "WithinSLO" if p95 <= 8000 else "BeyondSLO",
            "checks": [
                {"name": "p95", "limit": 8000.0, "value": p95, "met": p95 <= 8000},
                {"name": "maxFailureRatio", "limit": 0.01, "value": 0.004, "met": True},
            ],
            "message": f"p95 is {p95:.0f} ms of at most 8000 ms",
        },
        "client": {"workers": 1, "cpu": 0.12, "lag": 0.4},
        "error": None,
    }


def search(run: str = "5ea4c1") -> Object:
    """A report of a search for the most users within an SLO: the knee is 24."""
    report = ramp(run, users=(1, 2, 4, 8, 16, 32, 24, 28, 26, 25, 24), seconds=60.0)
    curve = []
    for level in (1, 2, 4, 8, 16, 24, 25, 26, 28, 32):
        latency = 700.0 if level <= 4 else 700.0 * level / 4
        curve.append(
            {
                "level": level,
                "requests": 60 * min(level, 5),
                "requestsPerSecond": round(min(level / 0.7, 5.7), 2),
                "p50": latency,
                "p95": latency * 1.4 if level <= 24 else latency * 2.2,
                "p99": latency * 1.8,
                "failureRatio": 0.0 if level < 30 else 0.02,
                "withinSlo": level <= 24,
            }
        )
    report["search"] = {
        "over": "users",
        "knee": 24,
        "confirmed": True,
        "step": 1.0,
        "atMax": False,
        "curve": curve,
    }
    report["summary"]["maxUsersWithinSlo"] = 24
    report["slo"] = {
        "met": True,
        "reason": "WithinSLO",
        "checks": [{"name": "p95", "limit": 8000.0, "value": 5880.0, "met": True}],
        "message": "24 users are the most with a p95 of at most 8000 ms",
    }
    return report


def nothing_answered(run: str = "0dead0") -> Object:
    """A report of a run whose every request failed: half of all figures are null."""
    report = ramp(run, users=(4,), seconds=30.0)
    nothing = {"p50": None, "p95": None, "p99": None, "mean": None, "requestsPerSecond": 0.0}
    failed = {**nothing, "requests": 40, "failures": 40, "failureRatio": 1.0}
    report["summary"] |= {
        **failed,
        "failuresByKind": {"ConnectionError": 38, "HTTP503": 2},
        "peakRequestsPerSecond": 0.0,
        "failuresPerSecond": 1.33,
        "max": None,
        "maxUsersWithinSlo": None,
        "timings": {},
    }
    for stage in report["stages"]:
        stage |= {**failed, "timings": {}, "withinSlo": None}
    report["window"] |= {**failed, "timings": {}, "withinSlo": None}
    for point in report["timeline"]:
        rates = {"requestsPerSecond": 0.0, "failuresPerSecond": 1.33}
        point |= {"p50": None, "p95": None, "replicas": None, **rates}
    report["replicas"] = []
    report["histogram"]["buckets"] = []
    report["target"] |= {"about": None, "fingerprint": {}, "fingerprintId": None}
    error = {"reason": "AllRequestsFailed", "message": "every request failed: 38 ConnectionError"}
    return {**report, "valid": {"status": False, **error, "also": []}, "slo": None, "error": error}


def _figures(latencies: list[float], failures: int, seconds: float) -> Object:
    def rank(q: float) -> float:
        return round(latencies[min(len(latencies) - 1, math.ceil(q * len(latencies)) - 1)], 2)

    requests = len(latencies) + failures
    return {
        "requests": requests,
        "failures": failures,
        "discarded": 20,
        "failureRatio": round(failures / requests, 6),
        "requestsPerSecond": round(len(latencies) / seconds, 4),
        "mean": round(sum(latencies) / len(latencies), 2),
        "p50": rank(0.5),
        "p95": rank(0.95),
        "p99": rank(0.99),
    }


def _buckets(latencies: list[float]) -> list[list[float]]:
    counts: dict[float, int] = {}
    for latency in latencies:
        bound = round(1.001 ** math.floor(math.log(latency, 1.001)), 3)
        counts[bound] = counts.get(bound, 0) + 1
    return [[bound, count] for bound, count in sorted(counts.items())]
