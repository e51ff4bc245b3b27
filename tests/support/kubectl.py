"""kubectl, as the tests use it: reads and writes as one would type them, over one connection.

A call of the object runs kubectl itself, for tests whose subject is what kubectl does or prints.
"""

import json
import subprocess
from typing import Any

import waiting
from cluster_api import ClusterApi, Kind, KubectlError, NotFoundError, cluster_api
from waiting import eventually

__all__ = ["Kubectl", "KubectlError", "NotFoundError", "condition", "eventually"]

Object = dict[str, Any]

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
MERGE = "application/merge-patch+json"
DELETED_WITHIN = 120.0
_SUBRESOURCE = "--subresource="


class Kubectl:
    """kubectl against one cluster and one namespace."""

    def __init__(self, program: str, kubeconfig: str, namespace: str = "default") -> None:
        self.program = program
        self.kubeconfig = kubeconfig
        self.namespace = namespace

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
        """Standard output of kubectl itself. Raises ``KubectlError``."""
        waiting.acts()
        command = [
            self.program,
            f"--kubeconfig={self.kubeconfig}",
            f"--namespace={self.namespace}",
            *arguments,
        ]
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def in_namespace(self, namespace: str) -> "Kubectl":
        return Kubectl(self.program, self.kubeconfig, namespace)

    def get(self, kind: str, name: str) -> Object:
        """The object. Raises ``KubectlError``."""
        found = self._read(kind)
        return _shown(self._api.request("GET", found.path(self.namespace, name)))

    def find(self, kind: str, name: str) -> Object | None:
        """The object, or nothing where there is none."""
        try:
            return self.get(kind, name)
        except NotFoundError:
            return None

    def status(self, kind: str, name: str) -> Object:
        """The object's status, an empty mapping before it has one."""
        return self.get(kind, name).get("status") or {}

    def list(self, kind: str, selector: str = "", *, everywhere: bool = False) -> list[Object]:
        """The objects of the namespace or, if so asked, of all."""
        found = self._read(kind, everywhere=everywhere)
        path = found.path("" if everywhere else self.namespace)
        answer = self._api.request("GET", path, options={"labelSelector": selector})
        named = {"apiVersion": found.api_version, "kind": found.kind}
        return [_shown({**named, **item}) for item in answer["items"]]

    def apply(self, manifest: Object) -> None:
        """Create the object or change it to what the manifest says, as client-side apply does.

        A list of a built-in kind is replaced, where kubectl would merge it by its keys.
        """
        kind = self._api.kind_of(manifest)
        metadata = manifest["metadata"]
        namespace = metadata.get("namespace", self.namespace)
        annotations = metadata.get("annotations") or {}
        told = {**annotations, LAST_APPLIED: json.dumps(manifest, sort_keys=True)}
        wanted: Object = {**manifest, "metadata": {**metadata, "annotations": told}}
        options = {"fieldManager": "kubectl-client-side-apply", "fieldValidation": "Strict"}
        before = self.in_namespace(namespace).find(_full_name(kind), metadata["name"])
        waiting.acts()
        if before is None:
            self._api.request("POST", kind.path(namespace), wanted, options=options)
            return
        last = json.loads(before["metadata"].get("annotations", {}).get(LAST_APPLIED, "{}"))
        change = _with_removals(last, wanted)
        path = kind.path(namespace, metadata["name"])
        self._api.request("PATCH", path, change, content_type=MERGE, options=options)

    def create(self, manifest: Object, *, dry_run: bool = False) -> None:
        """Create the object. Raises ``KubectlError``."""
        waiting.acts()
        options = {"fieldManager": "kubectl-create", "fieldValidation": "Strict"}
        if dry_run:
            options["dryRun"] = "All"
        namespace = manifest["metadata"].get("namespace", self.namespace)
        path = self._api.kind_of(manifest).path(namespace)
        self._api.request("POST", path, manifest, options=options)

    def patch(self, kind: str, name: str, patch: Object, *more: str) -> None:
        """Merge the patch into the object; ``more`` may name a subresource as kubectl takes it."""
        waiting.acts()
        assert all(each.startswith(_SUBRESOURCE) for each in more), more
        subresource = "".join(more).removeprefix(_SUBRESOURCE)
        path = self._api.kind(kind).path(self.namespace, name, subresource)
        self._api.request(
            "PATCH", path, patch, content_type=MERGE, options={"fieldManager": "kubectl-patch"}
        )

    def scale(self, kind: str, name: str, replicas: int) -> None:
        """What ``kubectl scale`` does: write the scale subresource alone."""
        self.patch(kind, name, {"spec": {"replicas": replicas}}, f"{_SUBRESOURCE}scale")

    def label(self, kind: str, name: str, labels: dict[str, str]) -> None:
        self.patch(kind, name, {"metadata": {"labels": labels}})

    def annotate(self, kind: str, name: str, annotations: dict[str, str]) -> None:
        self.patch(kind, name, {"metadata": {"annotations": annotations}})

    def delete(self, kind: str, name: str, *, now: bool = False, wait: bool = True) -> None:
        """Delete the object and wait until it is gone; ``now`` plays the kubelet at its end.

        Raises ``KubectlError`` where there is none.
        """
        waiting.acts()
        path = self._api.kind(kind).path(self.namespace, name)
        answer = self._api.request("DELETE", path, _deletion(now=now))
        uid = (answer["details"] if "details" in answer else answer["metadata"])["uid"]
        if wait:
            self._gone(kind, {uid})

    def delete_all(
        self, kind: str, selector: str = "", *, now: bool = False, wait: bool = True
    ) -> None:
        """Delete the objects of the namespace and wait until they are gone."""
        waiting.acts()
        uids = {found["metadata"]["uid"] for found in self.list(kind, selector)}
        path = self._api.kind(kind).path(self.namespace)
        self._api.request("DELETE", path, _deletion(now=now), options={"labelSelector": selector})
        if wait:
            self._gone(kind, uids)

    def _gone(self, kind: str, uids: set[str]) -> None:
        """Wait until those objects are gone, though others may have their names by now."""
        eventually(
            lambda: not uids & {found["metadata"]["uid"] for found in self.list(kind)},
            within=DELETED_WITHIN,
            what=f"the {kind} to go",
        )

    @property
    def _api(self) -> ClusterApi:
        return cluster_api(self.kubeconfig)

    def _read(self, name: str, *, everywhere: bool = False) -> Kind:
        """The kind, whose changes the current look is told of from now on."""
        kind = self._api.kind(name)
        if waiting.is_looking():
            if everywhere:
                waiting.acts()
            self._api.watch(kind)
            waiting.reads(self._api.topic(kind, self.namespace))
        return kind


def condition(obj: Object, kind: str) -> Object:
    """The condition of that type, or an empty mapping."""
    conditions = (obj.get("status") or {}).get("conditions") or []
    return next((found for found in conditions if found["type"] == kind), {})


def _shown(obj: Object) -> Object:
    """The object as ``kubectl get`` shows it, without the record of who wrote which field."""
    obj["metadata"].pop("managedFields", None)
    return obj


def _full_name(kind: Kind) -> str:
    group = kind.api_version.rpartition("/")[0]
    return f"{kind.plural}.{group}" if group else kind.plural


def _deletion(*, now: bool) -> Object:
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
    return {**options, "gracePeriodSeconds": 0} if now else {**options}


def _with_removals(last: Object, wanted: Object) -> Object:
    """What is wanted, as a merge patch that removes what was applied last and is wanted no more."""
    change: Object = {key: None for key in last if key not in wanted}
    for key, value in wanted.items():
        before = last.get(key)
        both = isinstance(value, dict) and isinstance(before, dict)
        change[key] = _with_removals(before or {}, value) if both else value
    return change
