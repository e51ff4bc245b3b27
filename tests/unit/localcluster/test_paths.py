from pathlib import Path

import pytest

from localcluster.errors import LocalClusterError
from localcluster.paths import Cache


def test_the_cache_follows_xdg_cache_home() -> None:
    root = Cache.of({"XDG_CACHE_HOME": "/somewhere"}).root
    assert root == Path("/somewhere/diffusion-operator/localcluster")


def test_the_cache_is_below_the_home_folder_otherwise() -> None:
    expected = Path.home() / ".cache" / "diffusion-operator" / "localcluster"
    assert Cache.of({}).root == expected
    assert Cache.of({"XDG_CACHE_HOME": ""}).root == expected


@pytest.mark.parametrize("name", ["", "Demo", "-demo", "demo-", "a/b", "..", "a" * 31, "a b"])
def test_a_name_that_is_no_host_name_is_refused(cache: Cache, name: str) -> None:
    with pytest.raises(LocalClusterError, match="lower-case letters"):
        cache.cluster(name)


def test_clusters_of_the_same_name_in_different_caches_have_different_ids(tmp_path: Path) -> None:
    ids = {Cache(tmp_path / folder).cluster("demo").id for folder in ("a", "b")}
    assert len(ids) == 2


def test_images_and_lock_are_outside_the_clusters_folder(cache: Cache) -> None:
    paths = cache.cluster("demo")
    assert not paths.images.is_relative_to(paths.root)
    assert not paths.lock.is_relative_to(paths.root)
    assert paths.audit_log.is_relative_to(paths.root)
