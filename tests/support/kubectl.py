"""kubectl for the tests: its reads and writes over one connection, without a process each.

A call of the object runs kubectl itself, for tests of kubectl's own effects or output.
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
        """Runs kubectl itself, and returns its standard output. Raises ``KubectlError``."""
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
        known = self._read(kind)
        return _shown(self._api.request("GET", known.path(self.namespace, name)))

    def find(self, kind: str, name: str) -> Object | None:
        """The object, or None where it does not exist."""
        try:
            return self.get(kind, name)
        except NotFoundError:
            return None

    def status(self, kind: str, name: str) -> Object:
        """The object's status, an empty mapping before it has one."""
        return self.get(kind, name).get("status") or {}

    def list(self, kind: str, selector: str = "", *, everywhere: bool = False) -> list[Object]:
        """The objects of the namespace or, with ``everywhere``, of all namespaces."""
        known = self._read(kind, everywhere=everywhere)
        path = known.path("" if everywhere else self.namespace)
        answer = self._api.request("GET", path, options={"labelSelector": selector})
        named = {"apiVersion": known.api_version, "kind": known.kind}
        return [_shown({**named, **item}) for item in answer["items"]]

    def apply(self, manifest: Object) -> None:
        """Creates the object or changes it to the manifest, as client-side apply does.

        Lists are replaced, also those that kubectl would merge by their keys.
        """
        kind = self._api.kind_of(manifest)
        metadata = manifest["metadata"]
        namespace = metadata.get("namespace", self.namespace)
        annotations = metadata.get("annotations") or {}
        all_annotations = {**annotations, LAST_APPLIED: json.dumps(manifest, sort_keys=True)}
        desired: Object = {**manifest, "metadata": {**metadata, "annotations": all_annotations}}
        options = {"fieldManager": "kubectl-client-side-apply", "fieldValidation": "Strict"}
        before = self.in_namespace(namespace).find(_full_name(kind), metadata["name"])
        waiting.acts()
        if before is None:
            self._api.request("POST", kind.path(namespace), desired, options=options)
            return
        last = json.loads(before["metadata"].get("annotations", {}).get(LAST_APPLIED, "{}"))
        change = _with_removals(last, desired)
        path = kind.path(namespace, metadata["name"])
        self._api.request("PATCH", path, change, content_type=MERGE, options=options)

    def create(self, manifest: Object, *, dry_run: bool = False) -> None:
        """Creates the object. Raises ``KubectlError``."""
        waiting.acts()
        options = {"fieldManager": "kubectl-create", "fieldValidation": "Strict"}
        if dry_run:
            options["dryRun"] = "All"
        namespace = manifest["metadata"].get("namespace", self.namespace)
        path = self._api.kind_of(manifest).path(namespace)
        self._api.request("POST", path, manifest, options=options)

    def patch(self, kind: str, name: str, patch: Object, *more: str) -> None:
        """Merges the patch into the object; ``more`` may be kubectl's option for a subresource."""
        waiting.acts()
        assert all(each.startswith(_SUBRESOURCE) for each in more), more
        subresource = "".join(more).removeprefix(_SUBRESOURCE)
        path = self._api.kind(kind).path(self.namespace, name, subresource)
        self._api.request(
            "PATCH", path, patch, content_type=MERGE, options={"fieldManager": "kubectl-patch"}
        )

    def scale(self, kind: str, name: str, replicas: int) -> None:
        """Writes the scale subresource alone, as ``kubectl scale`` does."""
        self.patch(kind, name, {"spec": {"replicas": replicas}}, f"{_SUBRESOURCE}scale")

    def label(self, kind: str, name: str, labels: dict[str, str]) -> None:
        self.patch(kind, name, {"metadata": {"labels": labels}})

    def annotate(self, kind: str, name: str, annotations: dict[str, str]) -> None:
        self.patch(kind, name, {"metadata": {"annotations": annotations}})

    def delete(self, kind: str, name: str, *, now: bool = False, wait: bool = True) -> None:
        """Deletes the object, and waits until it is gone; ``now`` skips the grace period.

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
        """Deletes the objects of the namespace, and waits until they are gone."""
        waiting.acts()
        uids = {each["metadata"]["uid"] for each in self.list(kind, selector)}
        path = self._api.kind(kind).path(self.namespace)
        self._api.request("DELETE", path, _deletion(now=now), options={"labelSelector": selector})
        if wait:
            self._gone(kind, uids)

    def _gone(self, kind: str, uids: set[str]) -> None:
        """Waits until those objects are gone; other objects may have their names by then."""
        eventually(
            lambda: not uids & {each["metadata"]["uid"] for each in self.list(kind)},
            within=DELETED_WITHIN,
            what=f"the {kind} to go",
        )

    @property
    def _api(self) -> ClusterApi:
        return cluster_api(self.kubeconfig)

    def _read(self, name: str, *, everywhere: bool = False) -> Kind:
        """The kind; changes of its objects repeat the current look from now on."""
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
    return next((each for each in conditions if each["type"] == kind), {})


def _shown(obj: Object) -> Object:
    """The object as ``kubectl get`` shows it, without managedFields."""
    obj["metadata"].pop("managedFields", None)
    return obj


def _full_name(kind: Kind) -> str:
    group = kind.api_version.rpartition("/")[0]
    return f"{kind.plural}.{group}" if group else kind.plural


def _deletion(*, now: bool) -> Object:
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
    return {**options, "gracePeriodSeconds": 0} if now else {**options}


def _with_removals(last: Object, desired: Object) -> Object:
    """A merge patch to the desired fields that removes fields of the last apply."""
    change: Object = {key: None for key in last if key not in desired}
    for key, value in desired.items():
        before = last.get(key)
        both = isinstance(value, dict) and isinstance(before, dict)
        change[key] = _with_removals(before or {}, value) if both else value
    return change
