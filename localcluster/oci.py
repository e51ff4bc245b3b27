"""Container images of one static program, written directly, since they need no builder."""

import hashlib
import io
import json
import platform
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcluster.errors import LocalClusterError

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_NAME = "io.containerd.image.name"
_REFERENCE = "org.opencontainers.image.ref.name"
_LISTS = ("manifest.json", "index.json")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_NOBODY = "65532:65532"


@dataclass(frozen=True)
class _Blob:
    media_type: str
    content: bytes

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def descriptor(self) -> dict[str, Any]:
        size = len(self.content)
        return {"mediaType": self.media_type, "digest": f"sha256:{self.digest}", "size": size}


def write_archive(file: Path, reference: str, program: Path) -> None:
    """Writes an OCI archive of image `reference`, which runs `program` as /NAME, not as root."""
    layer = _Blob(_LAYER, _layer(program))
    config = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}"], "User": _NOBODY},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.digest}"]},
    }
    config_blob = _Blob(_CONFIG, _json(config))
    manifest = _Blob(
        _MANIFEST,
        _json(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": config_blob.descriptor,
                "layers": [layer.descriptor],
            }
        ),
    )
    annotated = {**manifest.descriptor, "annotations": {_NAME: reference}}
    with tarfile.open(file, "w") as archive:
        _add(archive, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(archive, "index.json", _json({"schemaVersion": 2, "manifests": [annotated]}))
        for blob in (layer, config_blob, manifest):
            _add(archive, f"blobs/sha256/{blob.digest}", blob.content)


def names(file: Path) -> list[str]:
    """The names of the images in an archive of `docker save` or of the OCI.

    Raises:
        LocalClusterError: The file is no such archive.
    """
    try:
        with tarfile.open(file) as archive:
            listed = {entry.name: entry for entry in archive if entry.name in _LISTS}
            if "manifest.json" in listed:
                images = _read(archive, listed["manifest.json"])
                return [name for image in images for name in image.get("RepoTags") or []]
            manifests = _read(archive, listed["index.json"])["manifests"]
    except (tarfile.TarError, KeyError, ValueError) as error:
        raise LocalClusterError(f"{file} is no archive of container images.") from error
    annotations = [manifest.get("annotations", {}) for manifest in manifests]
    candidates = [note.get(_NAME) or note.get(_REFERENCE) for note in annotations]
    return [name for name in candidates if name and ":" in name]


def _read(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> Any:
    file = archive.extractfile(entry)
    return json.load(file) if file is not None else {}


def _layer(program: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        _add(archive, program.name, program.read_bytes(), mode=0o755)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = mode
    archive.addfile(entry, io.BytesIO(content))


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
