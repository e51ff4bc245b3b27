"""Each failure of a service, provoked on a real node, has its own reason in the status."""

from typing import Any

from in_cluster import StandIn
from kubectl import Kubectl, condition, eventually
from served import ready_reason

Object = dict[str, Any]
NO_ONE = "http://127.0.0.1:9"  # no server listens there


def small(pod: Object | None = None, **server: Any) -> Object:
    """A podTemplate with very small requests."""
    resources = {"requests": {"cpu": "10m", "memory": "32Mi"}}
    container = {"name": "server", "resources": resources, **server}
    return {"spec": {"containers": [container], **(pod or {})}}


def python(program: str) -> list[str]:
    return ["python", "-c", program]


LITTLE: Object = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "32Mi"}}
SERVICES: dict[str, tuple[Object, str, str]] = {
    "out-of-memory": (
        {"podTemplate": small(resources=LITTLE)},
        "OutOfMemory",
        "more memory than its limit",
    ),
    "crash": ({"podTemplate": small(command=python("exit(3)"))}, "CrashLooping", "code 3"),
    "no-answer": (
        {
            "podTemplate": small(
                {"terminationGracePeriodSeconds": 2},
                lifecycle={"preStop": {"sleep": {"seconds": 1}}},
                command=python("import time; time.sleep(600)"),
                startupProbe={"failureThreshold": 2},
            )
        },
        "ProbeFailed",
        "did not answer its probes",
    ),
    "no-image": (
        {"podTemplate": small(image="127.0.0.1:9/none:1")},
        "ImagePullFailed",
        "127.0.0.1:9/none:1",
    ),
    "no-secret": (
        {
            "podTemplate": small(),
            "auth": {"apiKeySecretRef": {"name": "nowhere", "key": "keys"}},
        },
        "SecretNotFound",
        "nowhere",
    ),
    "no-model": (
        {
            "podTemplate": small(),
            "model": {
                "source": "s3://bucket/model",
                "credentialsSecretRef": {"name": "bucket"},
            },
        },
        "DownloadFailed",
        f"{NO_ONE} cannot be reached",
    ),
    "refused": ({"podTemplate": small({"hostNetwork": True})}, "Forbidden", "PodSecurity"),
    "no-quota": ({"gpu": {"type": "standin"}}, "QuotaExceeded", "exceeded quota"),
    "no-node": ({"gpu": {"type": "nvidia-t4"}}, "NoMatchingNode", "affinity"),
}


def test_each_failure_has_its_own_reason(kubectl: Kubectl, stand_in: StandIn) -> None:
    kubectl("create", "quota", "gpus", "--hard=requests.diffusion.dev/standin-gpu=0")
    kubectl(
        *("create", "secret", "generic", "bucket", f"--from-literal=AWS_ENDPOINT_URL={NO_ONE}"),
        *("--from-literal=AWS_ACCESS_KEY_ID=x", "--from-literal=AWS_SECRET_ACCESS_KEY=y"),
    )
    eventually(
        lambda: (kubectl.get("quota", "gpus").get("status") or {}).get("hard"),
        what="the quota to hold",
    )
    for name, (spec, _, _) in SERVICES.items():
        kubectl.apply(stand_in.service(name, **spec))
    named: set[str] = set()

    def all_named() -> bool:
        for name, (_, reason, words) in SERVICES.items():
            ready = condition(kubectl.get("dsvc", name), "Ready")
            assert ready.get("status") != "True", name
            # In a cluster's first seconds the API server may refuse for other reasons.
            if ready.get("reason") == reason and words in ready["message"]:
                named.add(name)
        return named == SERVICES.keys()

    try:
        eventually(all_named, within=180, what="every reason", every=1)
    except AssertionError as error:
        says = {name: ready_reason(kubectl, name) for name in SERVICES.keys() - named}
        raise AssertionError(f"{error}; not named: {says}") from error
