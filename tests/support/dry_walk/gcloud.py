"""A stand-in of gcloud, which asks for a login first.

The source of its commands and options is cloud.google.com/sdk/gcloud/reference.
"""

import json
from typing import Any

from dry_walk.calls import Call, fail

GCLOUD = {
    "auth login": set(),
    "auth application-default login": set(),
    "auth configure-docker": {"--quiet"},
    "auth print-access-token": {"--impersonate-service-account"},
    "beta services identity create": {"--service"},
    "billing projects link": {"--billing-account"},
    "components install": {"--quiet"},
    "compute accelerator-types list": {"--filter"},
    "compute addresses list": set(),
    "compute disks list": set(),
    "compute forwarding-rules list": set(),
    "compute regions describe": {"--flatten", "--format", "--filter"},
    "config set project": set(),
    "container clusters delete": {"--location", "--project", "--quiet"},
    "container clusters get-credentials": {"--location", "--project", "--dns-endpoint"},
    "container clusters list": {"--project", "--format"},
    "iam workload-identity-pools undelete": {"--location"},
    "projects create": set(),
    "projects delete": set(),
    "projects describe": {"--format"},
    "secrets versions add": {"--data-file"},
    "services enable": set(),
    "storage buckets create": {
        "--location",
        "--uniform-bucket-level-access",
        "--public-access-prevention",
    },
    "storage buckets update": {"--versioning"},
    "storage objects describe": set(),
    "storage objects list": {"--format"},
    "storage rm": {"--recursive"},
    "storage service-agent": set(),
}
WITHOUT_LOGIN = {"auth login", "auth application-default login", "components install"}
State = dict[str, Any]
_MISSING = "The following URLs matched no objects or files:"


def gcloud(words: list[str], state: State) -> None:
    call = Call(words, GCLOUD)
    if call.command in {"auth login", "auth application-default login"}:
        state["google"] = True
    if not state["google"] and call.command not in WITHOUT_LOGIN:
        fail("You do not currently have an active account selected.")
    if call.command in _ANSWERS:
        _ANSWERS[call.command](call, state)


def _places(call: Call) -> list[str]:
    return [each.removeprefix("gs://") for each in call.operands]


def _configure_docker(call: Call, state: State) -> None:
    state["docker"] += call.operands


def _install(call: Call, state: State) -> None:
    state["components"] += call.operands


def _describe_project(call: Call, _: State) -> None:
    if call.value("--format") == "value(projectNumber)":
        print("123456789012")


def _token(_: Call, __: State) -> None:
    print("ya29.token")


def _create_bucket(call: Call, state: State) -> None:
    state["buckets"] += _places(call)


def _describe_object(call: Call, state: State) -> None:
    if _places(call)[0] not in state["objects"]:
        fail("gs:// not found: 404.")


def _remove(call: Call, state: State) -> None:
    objects: dict[str, str] = state["objects"]
    for place in _places(call):
        held = [each for each in objects if each == place or each.startswith(f"{place}/")]
        if not held and place not in state["buckets"]:
            fail(_MISSING)
        for each in held:
            del objects[each]


def _list_objects(call: Call, state: State) -> None:
    objects: dict[str, str] = state["objects"]
    folder = _places(call)[0].removesuffix("**")
    held = [each for each in objects if each.startswith(folder)]
    if not held:
        fail(_MISSING)
    shown = [{"name": each.partition("/")[2], "update_time": objects[each]} for each in held]
    print(json.dumps(shown))


def _list_clusters(_: Call, state: State) -> None:
    print(json.dumps(state["clusters"]))


def _delete_cluster(call: Call, state: State) -> None:
    state["clusters"] = [each for each in state["clusters"] if each["name"] != call.operands[0]]


def _get_credentials(_: Call, state: State) -> None:
    if "gke-gcloud-auth-plugin" not in state["components"]:
        fail("ACTION REQUIRED: gke-gcloud-auth-plugin is needed")
    state["cluster"] = True


_ANSWERS = {
    "auth configure-docker": _configure_docker,
    "auth print-access-token": _token,
    "components install": _install,
    "projects describe": _describe_project,
    "container clusters delete": _delete_cluster,
    "container clusters get-credentials": _get_credentials,
    "container clusters list": _list_clusters,
    "storage buckets create": _create_bucket,
    "storage objects describe": _describe_object,
    "storage objects list": _list_objects,
    "storage rm": _remove,
}
