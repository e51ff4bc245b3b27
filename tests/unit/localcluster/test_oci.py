import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from localcluster import oci
from localcluster.errors import LocalClusterError


@pytest.fixture
def archive(tmp_path: Path) -> dict[str, bytes]:
    program = tmp_path / "hello"
    program.write_bytes(b"#!/bin/sh\n")
    oci.write_archive(tmp_path / "image.tar", "localhost/hello:1", program)
    with tarfile.open(tmp_path / "image.tar") as tar:
        files = {entry.name: tar.extractfile(entry) for entry in tar}
        return {name: file.read() for name, file in files.items() if file is not None}


def blob(archive: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    content = archive["blobs/" + descriptor["digest"].replace(":", "/")]
    assert descriptor["digest"] == "sha256:" + hashlib.sha256(content).hexdigest()
    assert descriptor["size"] == len(content)
    return content


def test_every_part_has_the_path_of_its_digest(archive: dict[str, bytes]) -> None:
    (index,) = json.loads(archive["index.json"])["manifests"]
    assert index["annotations"]["io.containerd.image.name"] == "localhost/hello:1"
    manifest = json.loads(blob(archive, index))
    config = json.loads(blob(archive, manifest["config"]))
    layers = [blob(archive, layer) for layer in manifest["layers"]]
    digests = ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]
    assert config["rootfs"]["diff_ids"] == digests
    assert len(archive) == 5


def test_the_program_runs_and_not_as_root(archive: dict[str, bytes]) -> None:
    (index,) = json.loads(archive["index.json"])["manifests"]
    manifest = json.loads(blob(archive, index))
    config = json.loads(blob(archive, manifest["config"]))["config"]
    assert config == {"Entrypoint": ["/hello"], "User": "65532:65532"}
    with tarfile.open(fileobj=io.BytesIO(blob(archive, manifest["layers"][0]))) as layer:
        (entry,) = layer
        assert (entry.name, entry.mode) == ("hello", 0o755)


def test_the_same_program_makes_the_same_image(tmp_path: Path) -> None:
    program = tmp_path / "hello"
    program.write_bytes(b"same")
    for name in ("a", "b"):
        oci.write_archive(tmp_path / name, "hello:1", program)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def archive_of(file: Path, files: dict[str, object]) -> Path:
    with tarfile.open(file, "w") as archive:
        for name, value in files.items():
            content = json.dumps(value).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file


def test_a_written_archive_has_its_images_name(tmp_path: Path) -> None:
    program = tmp_path / "hello"
    program.touch()
    oci.write_archive(tmp_path / "image.tar", "localhost/hello:1", program)
    assert oci.names(tmp_path / "image.tar") == ["localhost/hello:1"]


def test_the_names_in_an_archive_of_docker(tmp_path: Path) -> None:
    files: dict[str, object] = {"manifest.json": [{"RepoTags": ["a:1", "b:2"]}, {"RepoTags": None}]}
    assert oci.names(archive_of(tmp_path / "image.tar", files)) == ["a:1", "b:2"]


def test_a_tag_alone_is_no_name(tmp_path: Path) -> None:
    manifest = {"annotations": {"org.opencontainers.image.ref.name": "latest"}}
    files: dict[str, object] = {"index.json": {"manifests": [manifest, {}]}}
    assert oci.names(archive_of(tmp_path / "image.tar", files)) == []


@pytest.mark.parametrize("content", [b"", b"text"])
def test_another_file_is_no_archive(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(LocalClusterError, match="no archive of container images"):
        oci.names(file)
