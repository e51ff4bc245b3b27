"""A control plane and one node together, in their own namespaces on this machine."""

import os
import shutil
import sys
from pathlib import Path, PurePosixPath

from localcluster import (
    addons,
    cgroups,
    components,
    control_plane,
    inside,
    machine,
    network,
    oci,
    pki,
    processes,
    programs,
    shell,
)
from localcluster.cgroups import Cgroup
from localcluster.components import Endpoint, Layout
from localcluster.console import Progress
from localcluster.errors import LocalClusterError
from localcluster.network import Link
from localcluster.paths import ClusterPaths
from localcluster.programs import Program
from localcluster.record import Record

_API_PORT = 6443
_NAMESPACE = "k8s.io"  # containerd's namespace for the kubelet's images
_SETUP_TIMEOUT = 30.0


def create(paths: ClusterPaths, progress: Progress) -> Record:
    """Writes the node's files and starts it; raises LocalClusterError."""
    machine.require_node(paths.cache.root, progress)
    binaries = programs.built(programs.NODE, paths.cache, progress)
    pause = _archive(paths, programs.PAUSE, progress)
    dns = _archive(paths, programs.COREDNS, progress)
    link = network.plan(paths.id, network.routes())
    server = f"https://{link.node}:{_API_PORT}"
    progress.say(f"starting cluster {paths.name} at {server}")
    control_plane.make_folders(paths)
    for folder in (paths.images, paths.cache.registry):
        folder.mkdir(parents=True, exist_ok=True)
    _write(paths, link, server)
    layout = Layout(PurePosixPath(inside.HOME / "cluster"), PurePosixPath(inside.HOME / "programs"))
    groups = cgroups.plan(_cgroup(paths))
    cgroups.create(groups)
    _write_plan(paths, link, groups, binaries)
    _write_components(paths, layout, link)
    record = Record("node", server, programs.NODE.version, str(binaries), link.node)
    record.save(paths)
    control_plane.start_supervisor(
        paths, [sys.executable, "-m", "localcluster.inside", str(paths.root)]
    )
    progress.wait(lambda: _namespaces_missing(paths), timeout=_SETUP_TIMEOUT, interval=0.02)
    cgroups.settle(groups)
    network.connect(link, first_process(paths) or 0)
    _wait_for_containerd(paths, progress)
    for archive in (pause, dns):
        _import(paths, archive, progress)
    return record


def add_dns(paths: ClusterPaths, record: Record) -> None:
    """Applies cluster DNS, as often as called; the API server must answer."""
    manifest = paths.config / "dns.json"
    control_plane.write_json(manifest, addons.dns(_image(programs.COREDNS)))
    kubectl = str(Path(record.programs) / "kubectl")
    kubeconfig = f"--kubeconfig={paths.kubeconfig}"
    shell.run(
        [kubectl, kubeconfig, "apply", "--server-side", "--force-conflicts", "-f", str(manifest)]
    )


def first_process(paths: ClusterPaths) -> int | None:
    """The host's pid of process 1 in the node's namespaces."""
    for pid in processes.marked(paths.root):
        if processes.inner_number(pid) == 1:
            return pid
    return None


def inner(paths: ClusterPaths, *argv: str) -> list[str]:
    """The command line that runs `argv` in the node; raises LocalClusterError if it is down."""
    pid = first_process(paths)
    if pid is None:
        raise LocalClusterError(f"Cluster {paths.name} has no running node: start it with `up`.")
    return ["nsenter", f"--target={pid}", "--mount", "--net", "--pid", "--uts", "--", *argv]


def ctr_command(paths: ClusterPaths, *arguments: str) -> list[str]:
    """The command line of containerd's client in the node; raises as `inner` does."""
    options = ["--address", components.CONTAINERD_SOCKET, "--namespace", _NAMESPACE]
    return inner(paths, "ctr", *options, *arguments)


def ctr(paths: ClusterPaths, *arguments: str) -> str:
    return shell.run(ctr_command(paths, *arguments))


def remove_remains(paths: ClusterPaths) -> None:
    """Removes the interface and cgroups of a killed node; raises LocalClusterError."""
    if not shutil.which("ip") or os.geteuid() != 0:
        return
    network.disconnect(paths.id)
    cgroups.remove(_cgroup(paths))


def _cgroup(paths: ClusterPaths) -> str:
    return f"localcluster-{paths.id}"


def _image(program: Program) -> str:
    return f"localhost/localcluster/{program.name}:{program.version}-{program.content_hash}"


def _archive(paths: ClusterPaths, program: Program, progress: Progress) -> Path:
    """The program's image, as a file beside the program; written once."""
    folder = programs.built(program, paths.cache, progress)
    archive = folder / "image.tar"
    if not archive.exists():
        partial = archive.with_suffix(".partial")
        oci.write_archive(partial, _image(program), folder / program.called[0])
        partial.rename(archive)
    return archive


def _write(paths: ClusterPaths, link: Link, server: str) -> None:
    addresses = ("127.0.0.1", "localhost", "kubernetes", "kubernetes.default.svc")
    certificates = pki.control_plane((*addresses, components.SERVICE_IP, link.node))
    pki.write(paths.pki, (*certificates, *pki.node(paths.name, link.node)))
    here = f"https://127.0.0.1:{_API_PORT}"
    control_plane.write_control_plane_files(paths, server=server, inner_server=here)
    for user in ("kubelet-client", "kube-proxy"):
        control_plane.write_kubeconfig(paths, user, here)


def _write_plan(paths: ClusterPaths, link: Link, groups: list[Cgroup], binaries: Path) -> None:
    filter_program = machine.packet_filter()
    variants = ("", "-save", "-restore")
    plan = inside.Plan(
        name=paths.name,
        link=link,
        cgroups=tuple(str(group.folder) for group in groups),
        controllers=tuple(group.options for group in groups if group.version == 1),
        binds={
            "cluster": str(paths.root),
            "programs": str(binaries),
            "images": str(paths.images),
            "registry": str(paths.cache.registry),
        },
        programs={
            f"iptables{variant}": str(shutil.which(f"{filter_program}{variant}"))
            for variant in variants
        },
    )
    (paths.root / "node.json").write_text(plan.to_json())


def _write_components(paths: ClusterPaths, layout: Layout, link: Link) -> None:
    write = control_plane.write_json
    write(paths.config / "kubelet.json", components.kubelet_config(layout))
    write(paths.config / "kube-proxy.json", components.proxy_config(layout, paths.name))
    storage = PurePosixPath(inside.HOME / "registry")
    write(paths.config / "registry.json", components.registry_config(storage))
    state = PurePosixPath("/run/cni")
    write(paths.config / "cni" / "10-localcluster.conflist", components.network_config(state))
    hosts = paths.config / "registries" / f"registry.localcluster:{components.REGISTRY_PORT}"
    hosts.mkdir(parents=True, exist_ok=True)
    (hosts / "hosts.toml").write_text(components.registry_hosts())
    (paths.config / "resolv.conf").write_text("# the cluster's own name server is the only one\n")
    containerd = components.containerd_config(
        layout,
        images=PurePosixPath(inside.HOME / "images"),
        pause=_image(programs.PAUSE),
        plugins=machine.plugin_folder() or "",
    )
    (paths.config / "containerd.toml").write_text(containerd)
    endpoint = Endpoint(bind="0.0.0.0", port=_API_PORT, advertise=link.node)  # noqa: S104
    control = components.control_plane(layout, endpoint, kubelet=True)
    node = components.node(layout, name=paths.name, address=link.node, port=_API_PORT)
    control_plane.write_components(paths, [*control, *node])


def _namespaces_missing(paths: ClusterPaths) -> str | None:
    if first_process(paths) is not None:
        return None
    if not processes.marked(paths.root):
        log = (paths.logs / "supervisor.log").read_text()
        raise LocalClusterError(f"The node has exited: {shell.last_lines(log)}")
    return "the node's namespaces"


def _wait_for_containerd(paths: ClusterPaths, progress: Progress) -> None:
    def missing() -> str | None:
        waiting = _namespaces_missing(paths)
        if waiting is not None:
            return waiting
        return None if shell.succeeds(ctr_command(paths, "version")) else "containerd"

    progress.wait(missing, timeout=_SETUP_TIMEOUT, interval=0.2)


def _import(paths: ClusterPaths, archive: Path, progress: Progress) -> None:
    """Imports an image on the node, unless an earlier cluster of this name has done so."""
    program = next(p for p in (programs.PAUSE, programs.COREDNS) if p.name in archive.parent.name)
    if _image(program) in ctr(paths, "images", "list", "--quiet").splitlines():
        return
    progress.say(f"importing the image of {program.name}")
    ctr(paths, "images", "import", str(archive))
