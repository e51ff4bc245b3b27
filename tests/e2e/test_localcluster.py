"""Local clusters, created and used for real."""

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local_clusters import (
    AGAIN_WITHIN,
    REPOSITORY,
    Cluster,
    Silent,
    cluster,
    in_time,
    localcluster,
    needs_node,
    until,
)
from localcluster import cgroups, node, oci, processes, programs

pytestmark = pytest.mark.usefixtures("programs_built")


@pytest.fixture(scope="class")
def plane() -> Iterator[Cluster]:
    with cluster("test-plane", "--control-plane-only") as made:
        made.up()
        yield made


class TestControlPlane:
    def test_a_second_up_keeps_what_is_there(self, plane: Cluster) -> None:
        plane.kubectl("create", "configmap", "kept")
        before = processes.marked(plane.paths.root)
        plane.up()
        assert processes.marked(plane.paths.root) == before
        assert "kept" in plane.kubectl("get", "configmaps", "--output=name")

    def test_it_is_of_the_version_that_was_built(self, plane: Cluster) -> None:
        version = json.loads(plane.kubectl("version", "--output=json"))
        assert version["serverVersion"]["gitVersion"] == programs.NODE.version
        assert version["clientVersion"]["gitVersion"] == programs.NODE.version

    def test_it_listens_on_loopback_only(self, plane: Cluster) -> None:
        pids = {f"pid={pid}," for pid in processes.marked(plane.paths.root)}
        listing = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True)
        lines = [line for line in listing.stdout.splitlines() if any(p in line for p in pids)]
        assert [line.split()[3].rpartition(":")[0] for line in lines] == ["127.0.0.1"]

    def test_children_of_a_deleted_object_are_collected(self, plane: Cluster) -> None:
        plane.kubectl("create", "configmap", "owner")
        owner = json.loads(plane.kubectl("get", "configmap", "owner", "--output=json"))
        reference = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": "owner",
            "uid": owner["metadata"]["uid"],
        }
        child = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "child", "ownerReferences": [reference]},
        }
        plane.kubectl("create", "--filename=-", stdin=json.dumps(child))
        plane.kubectl("delete", "configmap", "owner")
        plane.kubectl("wait", "--for=delete", "configmap/child", "--timeout=60s")

    def test_the_audit_log_says_who_did_what(self, plane: Cluster) -> None:
        plane.kubectl("create", "configmap", "watched")
        events = map(json.loads, Path(plane.status()["auditLog"]).read_text().splitlines())
        created = [
            (event["user"]["username"], event["level"])
            for event in events
            if event["verb"] == "create" and event.get("objectRef", {}).get("name") == "watched"
        ]
        assert created == [("localcluster-admin", "Metadata")]

    def test_a_restarted_api_server_comes_back_with_its_objects(self, plane: Cluster) -> None:
        plane.kubectl("create", "configmap", "stored")
        plane.run("restart", "kube-apiserver")
        assert plane.status()["components"]["kube-apiserver"]["starts"] == 2
        assert "stored" in plane.kubectl("get", "configmaps", "--output=name")


POD = """
apiVersion: v1
kind: Namespace
metadata:
  name: strict
  labels: {pod-security.kubernetes.io/enforce: restricted}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: strict}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: web
          image: IMAGE
          imagePullPolicy: IfNotPresent
          args: [-conf, /etc/web/Corefile]
          readinessProbe: {httpGet: {path: /health, port: 8080}, periodSeconds: 1}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
          volumeMounts: [{name: config, mountPath: /etc/web}]
      volumes: [{name: config, configMap: {name: web}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: web, namespace: strict}
data:
  Corefile: ".:5353 {\\n health :8080\\n}\\n"
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: strict}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""


def ask_dns(name: str, port: int) -> str:
    """The first address of `name` from the DNS server on loopback, over TCP."""
    question = b"".join(bytes([len(p)]) + p.encode() for p in name.split("."))
    query = struct.pack("!6H", 1, 0x0100, 1, 0, 0, 0) + question + b"\0" + struct.pack("!2H", 1, 1)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(struct.pack("!H", len(query)) + query)
        answer = connection.makefile("rb")
        (length,) = struct.unpack("!H", answer.read(2))
        return socket.inet_ntoa(answer.read(length)[-4:])


@contextmanager
def forwarded(made: Cluster, namespace: str, target: str, port: int) -> Iterator[int]:
    """Forwards a port of loopback to `target` in the cluster, and yields the port."""
    kubectl = programs.built(programs.NODE, made.paths.cache, Silent()) / "kubectl"
    with subprocess.Popen(
        [
            str(kubectl),
            f"--kubeconfig={made.paths.kubeconfig}",
            f"--namespace={namespace}",
            "port-forward",
            target,
            f":{port}",
        ],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            yield int(line.partition("127.0.0.1:")[2].split()[0])
        finally:
            process.kill()


@pytest.fixture(scope="class")
def running() -> Iterator[Cluster]:
    with cluster("test-node") as made:
        made.up()
        yield made


@pytest.fixture(scope="class")
def web(running: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """A restricted pod behind a Service; its image was loaded from an archive."""
    archive = tmp_path_factory.mktemp("image") / "web.tar"
    program = programs.built(programs.COREDNS, running.paths.cache, Silent()) / "coredns"
    oci.write_archive(archive, "localhost/test/web:1", program)
    assert running.run("load", str(archive)) == "localhost/test/web:1"
    running.kubectl("apply", "--filename=-", stdin=POD.replace("IMAGE", "localhost/test/web:1"))
    running.kubectl(
        "wait", "--namespace=strict", "--for=condition=Available", "deployment/web",
        "--timeout=60s",
    )  # fmt: skip
    return running


@needs_node
class TestNode:
    def test_the_node_is_ready_and_says_what_it_is(self, running: Cluster) -> None:
        node_info = json.loads(running.kubectl("get", "node", "test-node", "--output=json"))
        assert node_info["status"]["nodeInfo"]["kubeletVersion"] == programs.NODE.version

    def test_logs_come_from_the_pod(self, web: Cluster) -> None:
        logs = web.kubectl("logs", "--namespace=strict", "deployment/web")
        assert programs.COREDNS.version.removeprefix("v") in logs

    def test_a_command_runs_in_the_pod(self, web: Cluster) -> None:
        answer = web.kubectl(
            "exec", "--namespace=strict", "deployment/web", "--", "/coredns", "-plugins"
        )
        assert "kubernetes" in answer.split()

    def test_a_port_is_forwarded_through_a_service(self, web: Cluster) -> None:
        with (
            forwarded(web, "strict", "service/web", 80) as port,
            socket.create_connection(("127.0.0.1", port), timeout=5) as connection,
        ):
            connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            assert b"200 OK" in connection.makefile("rb").readline()

    def test_services_have_names(self, web: Cluster) -> None:
        service = json.loads(
            web.kubectl("get", "service", "web", "--namespace=strict", "--output=json")
        )
        with forwarded(web, "kube-system", "service/kube-dns", 53) as port:
            assert ask_dns("web.strict.svc.cluster.local", port) == service["spec"]["clusterIP"]

    def test_a_service_leads_to_its_pod_from_within_the_node(self, web: Cluster) -> None:
        service = json.loads(
            web.kubectl("get", "service", "web", "--namespace=strict", "--output=json")
        )
        fetch = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=5).status)"
        url = f"http://{service['spec']['clusterIP']}/health"
        inner = node.inner(web.paths, sys.executable, "-c", fetch, url)

        def answers() -> bool:
            done = subprocess.run(inner, capture_output=True, text=True, check=False)
            return done.stdout.strip() == "200"

        until(answers, "kube-proxy to know the pod")

    def test_an_unrestricted_pod_is_refused_where_the_namespace_enforces_it(
        self, web: Cluster
    ) -> None:
        with pytest.raises(AssertionError, match="violates PodSecurity"):
            web.kubectl("run", "root", "--namespace=strict", "--image=localhost/test/web:1")

    @pytest.mark.skipif(shutil.which("buildah") is None, reason="buildah is not installed")
    def test_an_image_of_buildah_is_pushed_pulled_and_run(self, web: Cluster) -> None:
        program = programs.built(programs.COREDNS, web.paths.cache, Silent()) / "coredns"
        container = subprocess.check_output(["buildah", "from", "scratch"], text=True).strip()
        for step in (
            ["copy", container, str(program), "/coredns"],
            ["config", "--entrypoint", '["/coredns"]', "--user", "65532:65532", container],
            ["commit", "--quiet", "--rm", container, "localhost/localcluster-test/web:2"],
        ):
            subprocess.run(["buildah", *step], check=True, capture_output=True)
        try:
            image = web.run("load", "localhost/localcluster-test/web:2")
            assert image == "registry.localcluster:5000/localcluster-test/web:2"
            again = localcluster(
                "load", "--name", web.paths.name, "localhost/localcluster-test/web:2"
            )
            assert (again.stdout.strip(), again.stderr) == (image, "")  # no image was transferred
        finally:
            remove = ["buildah", "rmi", "localhost/localcluster-test/web:2"]
            subprocess.run(remove, check=True, capture_output=True)
        web.kubectl("set", "image", "--namespace=strict", "deployment/web", f"web={image}")
        web.kubectl("rollout", "status", "--namespace=strict", "deployment/web", "--timeout=60s")

    def test_a_pod_lives_on_while_every_component_is_restarted(self, running: Cluster) -> None:
        def pods() -> list[tuple[str, int]]:
            query = ("get", "pods", "--namespace=kube-system", "--output=json")
            return [
                (pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"])
                for pod in json.loads(running.kubectl(*query))["items"]
            ]

        before = pods()
        assert [restarts for _, restarts in before] == [0]
        for component in running.status()["components"]:
            running.run("restart", component)
        assert pods() == before

    def test_the_machines_own_settings_and_folders_stay_as_they_are(self, running: Cluster) -> None:
        seen = node.inner(running.paths, "cat", "/proc/sys/vm/overcommit_memory")
        assert subprocess.check_output(seen, text=True).strip() == "1"
        assert not Path("/var/lib/kubelet").exists()
        hostname = node.inner(running.paths, "hostname")
        assert subprocess.check_output(hostname, text=True).strip() == "test-node"
        assert socket.gethostname() != "test-node"

    def test_a_second_up_takes_seconds_and_changes_nothing(self, web: Cluster) -> None:
        before = node.first_process(web.paths)
        taken = []
        for _ in range(3):  # the machine may be busy for one try
            begin = time.monotonic()
            web.up()
            taken.append(time.monotonic() - begin)
            if taken[-1] < AGAIN_WITHIN:
                break
        assert node.first_process(web.paths) == before
        in_time(taken, AGAIN_WITHIN)

    def test_a_cluster_of_another_kind_by_that_name_is_refused(self, running: Cluster) -> None:
        done = localcluster("up", "--control-plane-only", "--name", running.paths.name)
        assert done.returncode == 1
        assert "take it down first" in done.stderr


INHABITANT = """
import subprocess, sys
from pathlib import Path
from localcluster import cgroups
subprocess.run(["mount", "-t", "cgroup2", "cgroup2", sys.argv[1]], check=True)
cgroups._ROOT = Path(sys.argv[1])
print("inside", flush=True)
sys.stdin.readline()
cgroups.hand_down()
print((cgroups._ROOT / "cgroup.subtree_control").read_text().strip(), flush=True)
sys.stdin.readline()
"""


@needs_node
def test_with_cgroup_version_2_pods_get_a_limit_beside_the_nodes_processes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Uses, on a machine with version 1, the controllers that version 1 leaves to version 2."""
    roots = [Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")]
    hierarchies = [root for root in roots if (root / "cgroup.controllers").exists()]
    controllers = (hierarchies[0] / "cgroup.controllers").read_text().split() if hierarchies else []
    if not controllers:
        pytest.skip("no version 2 hierarchy with a controller here")
    name = "localcluster-test-v2"
    monkeypatch.setattr(cgroups, "_ROOT", hierarchies[0])
    monkeypatch.setattr(cgroups, "_NEEDED", {controllers[0]})
    groups = cgroups.plan(name)
    cgroups.create(groups)
    script = tmp_path / "inhabitant.py"
    script.write_text(INHABITANT)
    point = tmp_path / "cgroup"
    point.mkdir()
    with subprocess.Popen(
        ["unshare", "--mount", "--cgroup", "--pid", "--fork", "--kill-child",
         sys.executable, str(script), str(point)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: cgroups.enter([group.folder for group in groups]),  # noqa: PLW1509
    ) as process:  # fmt: skip
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == "inside\n"
            cgroups.settle(groups)
            process.stdin.write("\n")
            process.stdin.flush()
            assert controllers[0] in process.stdout.readline().split()
        finally:
            process.kill()
    cgroups.remove(name)
    assert cgroups.find(name) == []
