import pytest

from localcluster.errors import LocalClusterError
from localcluster.references import Reference, reference_of


@pytest.mark.parametrize(
    ("text", "path", "tag"),
    [
        ("operator:1", "operator", "1"),
        ("operator", "operator", "latest"),
        ("localhost/operator:1", "operator", "1"),
        ("localhost:5000/team/operator:1", "team/operator", "1"),
        ("ghcr.io/team/operator", "team/operator", "latest"),
        ("team/operator:1", "team/operator", "1"),
    ],
)
def test_the_registry_of_a_name_is_dropped(text: str, path: str, tag: str) -> None:
    assert Reference.parse(text) == Reference(path, tag)


@pytest.mark.parametrize("text", ["", "operator@sha256:00"])
def test_a_name_without_a_tag_to_keep_is_refused(text: str) -> None:
    with pytest.raises(LocalClusterError, match="no name with a tag"):
        Reference.parse(text)


@pytest.mark.parametrize("registry", ["host:5000/team", "host:5000/team/"])
def test_a_name_below_a_registry(registry: str) -> None:
    assert Reference("a/b", "1").at(registry) == "host:5000/team/a/b:1"


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("app", "docker.io/library/app:latest"),
        ("app:1", "docker.io/library/app:1"),
        ("team/app:1", "docker.io/team/app:1"),
        ("localhost/app:1", "localhost/app:1"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("ghcr.io/team/app:1", "ghcr.io/team/app:1"),
    ],
)
def test_the_full_name_of_a_short_one(image: str, name: str) -> None:
    assert reference_of(image) == name
