"""The clusters of other programs: kind's, and those of a named context."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from localcluster import cli, kind
from localcluster.console import Progress
from localcluster.context import ContextCluster
from localcluster.errors import LocalClusterError
from localcluster.kind import KindCluster
from localcluster.local import LocalCluster
from localcluster.paths import Cache, ClusterPaths
from localcluster.provider import Provider
from localcluster.record import Record
from tests.unit.localcluster.conftest import Programs

KUBECTL = """
case "$*" in
  *get-contexts*) echo dev; echo prod ;;
  *view*) echo '{"kind": "Config"}' ;;
  *readyz*) echo ok ;;
esac
"""


def context_cluster(
    programs: Programs,
    cache: Cache,
    progress: Progress,
    name: str = "dev",
    registry: str | None = None,
) -> ContextCluster:
    programs.add("kubectl", KUBECTL)
    return ContextCluster(name, registry, str(programs.folder / "kubectl"), cache, progress)


def test_an_unknown_context_is_refused_with_the_known_ones(
    programs_on_path: Programs, cache: Cache, progress: Progress
) -> None:
    cluster = context_cluster(programs_on_path, cache, progress, "staging")
    with pytest.raises(
        LocalClusterError, match="'staging' is no context; kubectl knows: dev, prod"
    ):
        cluster.up(control_plane_only=False)


def test_an_empty_context_is_refused(
    programs_on_path: Programs, cache: Cache, progress: Progress
) -> None:
    cluster = context_cluster(programs_on_path, cache, progress, "")
    with pytest.raises(LocalClusterError, match="CONTEXT is empty; kubectl knows: dev, prod"):
        cluster.up(control_plane_only=False)


def test_a_context_is_used_by_name_and_gets_its_own_kubeconfig(
    programs_on_path: Programs, cache: Cache, progress: Progress
) -> None:
    cluster = context_cluster(programs_on_path, cache, progress)
    cluster.up(control_plane_only=False)
    calls = [call for call in programs_on_path.calls() if "get-contexts" not in call]
    assert calls
    assert all("--context=dev" in call for call in calls)
    assert json.loads(cluster.kubeconfig().read_text()) == {"kind": "Config"}
    assert cluster.status()["state"] == "Running"


def test_the_cluster_of_a_context_is_never_taken_down(
    programs_on_path: Programs, cache: Cache, progress: Progress
) -> None:
    cluster = context_cluster(programs_on_path, cache, progress)
    cluster.up(control_plane_only=False)
    before = programs_on_path.calls()
    cluster.down(purge=True)
    assert programs_on_path.calls() == before
    assert not cluster.kubeconfig().exists()


def test_images_for_a_context_need_a_registry(
    programs_on_path: Programs, cache: Cache, progress: Progress
) -> None:
    cluster = context_cluster(programs_on_path, cache, progress)
    with pytest.raises(LocalClusterError, match="REGISTRY="):
        cluster.load(["localhost/app:1"])


def test_images_of_buildah_are_pushed_to_the_registry(
    only_programs: Callable[..., Programs], cache: Cache, progress: Progress
) -> None:
    programs = only_programs("sh")
    programs.add("buildah")
    cluster = context_cluster(programs, cache, progress, registry="reg.example/team")
    assert cluster.load(["localhost/app:1"]) == ["reg.example/team/app:1"]
    pushed = "buildah push --quiet localhost/app:1 docker://reg.example/team/app:1"
    assert programs.calls() == [pushed]


def test_images_of_docker_are_pushed_by_docker(
    only_programs: Callable[..., Programs], cache: Cache, progress: Progress
) -> None:
    programs = only_programs("sh")
    programs.add("docker")
    cluster = context_cluster(programs, cache, progress, registry="reg.example/team")
    assert cluster.load(["app:1"]) == ["reg.example/team/app:1"]
    assert programs.calls() == [
        "docker image inspect app:1",
        "docker tag app:1 reg.example/team/app:1",
        "docker push --quiet reg.example/team/app:1",
    ]


def test_kind_makes_a_cluster_once(
    programs_on_path: Programs, paths: ClusterPaths, progress: Progress
) -> None:
    programs_on_path.add("kind")
    KindCluster(paths, progress).up(control_plane_only=False)
    programs_on_path.add("kind", "echo demo")
    KindCluster(paths, progress).up(control_plane_only=False)
    file = paths.kubeconfig
    assert programs_on_path.calls() == [
        "kind get clusters",
        f"kind create cluster --name demo --kubeconfig {file} --wait 300s",
        "kind get clusters",
        f"kind export kubeconfig --name demo --kubeconfig {file}",
    ]


def test_kind_loads_images_and_archives_under_their_own_names(
    programs_on_path: Programs, paths: ClusterPaths, progress: Progress, tmp_path: Path
) -> None:
    programs_on_path.add("kind", "echo demo")
    archive = tmp_path / "image.tar"
    archive.touch()
    assert KindCluster(paths, progress).load(["app:1", str(archive)]) == ["app:1", str(archive)]
    assert programs_on_path.calls()[1:] == [
        "kind load docker-image --name demo app:1",
        f"kind load image-archive --name demo {archive}",
    ]


def test_kind_removes_its_cluster(
    programs_on_path: Programs, paths: ClusterPaths, progress: Progress
) -> None:
    programs_on_path.add("kind")
    paths.root.mkdir(parents=True)
    KindCluster(paths, progress).down(purge=False)
    assert programs_on_path.calls() == ["kind delete cluster --name demo"]
    assert not paths.root.exists()


def test_loading_needs_a_cluster(
    programs_on_path: Programs, paths: ClusterPaths, progress: Progress
) -> None:
    programs_on_path.add("kind")
    with pytest.raises(LocalClusterError, match="start it with `up`"):
        KindCluster(paths, progress).load(["app:1"])


@pytest.mark.parametrize(("engine", "usable"), [("exit 0", True), ("exit 1", False)])
def test_kind_is_usable_if_dockers_engine_answers(
    programs_on_path: Programs, engine: str, usable: bool
) -> None:
    programs_on_path.add("kind")
    programs_on_path.add("docker", engine)
    assert kind.usable() is usable


class TestChoice:
    @pytest.fixture
    def choose(
        self, programs_on_path: Programs, cache: Cache, progress: Progress
    ) -> Callable[..., Provider]:
        programs_on_path.add("kind")
        programs_on_path.add("docker")

        def make(*, context: str | None = None, control_plane_only: bool = False) -> Provider:
            return cli.choose(
                "demo",
                context=context,
                registry=None,
                control_plane_only=control_plane_only,
                cache=cache,
                progress=progress,
            )

        return make

    def test_kind_comes_before_the_local_one(self, choose: Callable[..., Provider]) -> None:
        assert isinstance(choose(), KindCluster)

    def test_a_control_plane_alone_is_always_local(self, choose: Callable[..., Provider]) -> None:
        assert isinstance(choose(control_plane_only=True), LocalCluster)

    def test_an_existing_local_cluster_comes_before_kind(
        self, choose: Callable[..., Provider], paths: ClusterPaths
    ) -> None:
        paths.root.mkdir(parents=True)
        Record("node", "https://h", "v1", "/p").save(paths)
        assert isinstance(choose(), LocalCluster)

    @pytest.mark.parametrize("context", ["dev", ""])
    def test_a_context_comes_before_all(
        self, choose: Callable[..., Provider], programs_on_path: Programs, context: str
    ) -> None:
        programs_on_path.add("kubectl", KUBECTL)
        assert isinstance(choose(context=context), ContextCluster)

    def test_without_docker_it_is_local(
        self, choose: Callable[..., Provider], programs_on_path: Programs
    ) -> None:
        programs_on_path.add("docker", "exit 1")
        assert isinstance(choose(), LocalCluster)
