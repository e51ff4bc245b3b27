import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from localcluster import oci


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


def test_every_part_is_where_its_digest_says(archive: dict[str, bytes]) -> None:
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
