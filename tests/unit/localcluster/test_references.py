import pytest

from localcluster.errors import LocalClusterError
from localcluster.references import Reference


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
