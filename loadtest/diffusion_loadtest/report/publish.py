"""Publication of progress and report, as keys of one ConfigMap or as files."""

import contextlib
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

PROGRESS = "progress.json"
REPORT = "report.json"
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

_logger = logging.getLogger(__name__)
_MERGE_PATCH = "application/merge-patch+json"
_REQUEST_TIMEOUT = (3.0, 10.0)  # seconds to connect, and to respond
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 10.0
_PERMANENT_STATUSES = frozenset({400, 413, 422})  # the API server refuses the document itself


class PublishError(Exception):
    """The documents were not published; `retryable` is whether a later try may succeed."""

    def __init__(self, detail: str, *, retryable: bool = True) -> None:
        super().__init__(detail)
        self.retryable = retryable


class Sink(Protocol):
    """Takes documents by name, all or none; each replaces the document of its name."""

    def put(self, documents: Mapping[str, str]) -> None:
        """Raises PublishError."""


class FileSink:
    """Files of a folder, which is created if missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, documents: Mapping[str, str]) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for name, text in documents.items():
                # readers see the old document or the new one, never half of it
                part = self._folder / f".{name}.part"
                part.write_text(text, encoding="utf-8")
                part.replace(self._folder / name)
        except OSError as error:
            raise PublishError(f"{self._folder}: {error.strerror}", retryable=False) from None


class ConfigMapSink:
    """Keys of an existing ConfigMap, by merge patch: the one permission the runner needs."""

    def __init__(self, name: str, namespace: str) -> None:
        # a late import: Locust must patch the sockets that this client uses first
        from kubernetes import client, config  # noqa: PLC0415

        configuration = client.Configuration()
        inside = bool(os.environ.get("KUBERNETES_SERVICE_HOST"))
        load = config.load_incluster_config if inside else config.load_kube_config
        try:
            load(client_configuration=configuration)
        except config.ConfigException as error:
            raise PublishError(f"configmap/{name}: no cluster: {error}") from None
        configuration.retries = False  # urllib3's value for none, since `_deliver` retries
        self._api = client.CoreV1Api(client.ApiClient(configuration))
        self._name, self._namespace = name, namespace

    def put(self, documents: Mapping[str, str]) -> None:
        from kubernetes.client import ApiException  # noqa: PLC0415  as above
        from urllib3.exceptions import HTTPError  # noqa: PLC0415

        try:
            self._api.patch_namespaced_config_map(
                self._name,
                self._namespace,
                {"data": dict(documents)},
                field_manager="diffusion-loadtest",
                _content_type=_MERGE_PATCH,
                _request_timeout=_REQUEST_TIMEOUT,
            )
        except ApiException as error:
            raise PublishError(
                f"configmap/{self._name}: {error.status} {error.reason}",
                retryable=error.status not in _PERMANENT_STATUSES,
            ) from None
        except (HTTPError, OSError) as error:
            raise PublishError(f"configmap/{self._name}: {type(error).__name__}") from None


class Sinks:
    """Several sinks as one; a failure of one sink does not affect the others."""

    def __init__(self, sinks: tuple[Sink, ...]) -> None:
        self._sinks = sinks

    def offer(self, documents: Mapping[str, str]) -> None:
        """Tries once: the next progress replaces a lost one."""
        for sink in self._sinks:
            try:
                sink.put(documents)
            except PublishError as error:
                _logger.warning("Progress was not published: %s", error)

    def deliver(self, documents: Mapping[str, str], seconds: float) -> None:
        """Tries for `seconds`, at growing intervals; raises PublishError if a sink got nothing."""
        deadline = time.monotonic() + seconds
        failure: PublishError | None = None
        for sink in self._sinks:
            try:
                _deliver(sink, documents, deadline)
            except PublishError as error:
                failure = error
        if failure is not None:
            raise failure


def _deliver(sink: Sink, documents: Mapping[str, str], deadline: float) -> None:
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            sink.put(documents)
        except PublishError as error:
            if not error.retryable or time.monotonic() + pause > deadline:
                raise
            _logger.warning("The report was not published; retrying: %s", error)
        else:
            return
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def pod_namespace(default: str) -> str:
    """The namespace of the pod's service account; `default` outside of a pod."""
    with contextlib.suppress(OSError):
        return NAMESPACE_FILE.read_text(encoding="utf-8").strip() or default
    return default
