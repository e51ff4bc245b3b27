"""The components of a cluster: each program's command line and configuration. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath as Path
from typing import Any

SERVICE_CIDR = "10.96.0.0/16"
SERVICE_IP = "10.96.0.1"
DNS_IP = "10.96.0.10"
POD_CIDR = "10.244.0.0/16"
CLUSTER_DOMAIN = "cluster.local"
REGISTRY_PORT = 5000
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"

_ETCD_CLIENTS = "unix://etcd:0"
_ETCD_PEERS = "unix://etcd:1"
_CLIENT_RATE = ("--kube-api-qps=200", "--kube-api-burst=400")


@dataclass(frozen=True)
class Component:
    """A program that the supervisor keeps running.

    The program starts once `after`, `unix:PATH` or `tcp:HOST:PORT`, accepts connections. Relative
    paths are below the cluster's `run` folder, its working directory.
    """

    name: str
    argv: tuple[str, ...]
    after: str | None = None


@dataclass(frozen=True)
class Layout:
    """The paths by which the components see the cluster's folder and the programs."""

    root: Path
    programs: Path

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def config(self) -> Path:
        return self.root / "config"

    def certificate(self, flag: str, name: str, key_flag: str) -> list[str]:
        return [f"--{flag}={self.pki / name}.crt", f"--{key_flag}={self.pki / name}.key"]


@dataclass(frozen=True)
class Endpoint:
    """The address on which the API server listens, and the address for pods."""

    bind: str
    port: int
    advertise: str


def to_json(components: Iterable[Component]) -> str:
    return json.dumps([asdict(component) for component in components], indent=2) + "\n"


def from_json(text: str) -> list[Component]:
    return [
        Component(item["name"], tuple(item["argv"]), item["after"]) for item in json.loads(text)
    ]


def control_plane(layout: Layout, endpoint: Endpoint, *, kubelet: bool) -> list[Component]:
    """The control plane's components: etcd, API server, controller manager and scheduler.

    `kubelet` says whether a node will join, whose kubelet the API server calls for logs and exec.
    """
    answering = f"tcp:{endpoint.bind.replace('0.0.0.0', '127.0.0.1')}:{endpoint.port}"  # noqa: S104
    return [
        etcd(layout),
        api_server(layout, endpoint, kubelet=kubelet),
        controller_manager(layout, after=answering, nodes=kubelet),
        scheduler(layout, after=answering),
    ]


def etcd(layout: Layout) -> Component:
    """The etcd server on Unix sockets: no port can collide, and no other user can connect."""
    argv = [
        str(layout.programs / "etcd"),
        f"--data-dir={layout.root / 'etcd'}",
        f"--listen-client-urls={_ETCD_CLIENTS}",
        f"--advertise-client-urls={_ETCD_CLIENTS}",
        f"--listen-peer-urls={_ETCD_PEERS}",
        f"--initial-advertise-peer-urls={_ETCD_PEERS}",
        f"--initial-cluster=default={_ETCD_PEERS}",
        "--unsafe-no-fsync",  # a cluster does not survive a crash of the machine anyway
        "--log-level=warn",
    ]
    return Component("etcd", tuple(argv))


def api_server(layout: Layout, endpoint: Endpoint, *, kubelet: bool) -> Component:
    argv = [
        str(layout.programs / "kube-apiserver"),
        f"--etcd-servers={_ETCD_CLIENTS}",
        f"--bind-address={endpoint.bind}",
        f"--secure-port={endpoint.port}",
        f"--advertise-address={endpoint.advertise}",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        "--authorization-mode=Node,RBAC",
        # OwnerReferencesPermissionEnforcement checks the rights of an owner reference's writer, as
        # stricter clusters do.
        "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
        "--allow-privileged=true",
        "--shutdown-delay-duration=0s",
        f"--client-ca-file={layout.pki / 'ca.crt'}",
        *layout.certificate("tls-cert-file", "apiserver", "tls-private-key-file"),
        f"--service-account-issuer=https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
        f"--service-account-key-file={layout.pki / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={layout.pki / 'service-accounts.key'}",
        f"--requestheader-client-ca-file={layout.pki / 'front-proxy-ca.crt'}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        *layout.certificate(
            "proxy-client-cert-file", "front-proxy-client", "proxy-client-key-file"
        ),
        f"--audit-policy-file={layout.config / 'audit-policy.json'}",
        f"--audit-log-path={layout.root / 'logs' / 'audit.log'}",
        "--audit-log-maxsize=500",
        "--audit-log-maxbackup=2",
    ]
    if kubelet:
        argv += [
            # The node's name is not in DNS, so `kubectl logs` must use the address.
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-certificate-authority={layout.pki / 'ca.crt'}",
            *layout.certificate(
                "kubelet-client-certificate", "apiserver-kubelet-client", "kubelet-client-key"
            ),
        ]
    else:
        # No pod can reach the `kubernetes` Service, and a loopback address is no valid endpoint.
        argv += ["--endpoint-reconciler-type=none"]
    return Component("kube-apiserver", tuple(argv), after="unix:etcd:0")


def controller_manager(layout: Layout, *, after: str, nodes: bool) -> Component:
    argv = [
        str(layout.programs / "kube-controller-manager"),
        f"--kubeconfig={layout.config / 'controller-manager.kubeconfig'}",
        "--leader-elect=false",
        "--secure-port=0",
        "--use-service-account-credentials",
        f"--root-ca-file={layout.pki / 'ca.crt'}",
        f"--service-account-private-key-file={layout.pki / 'service-accounts.key'}",
        f"--cluster-signing-cert-file={layout.pki / 'ca.crt'}",
        f"--cluster-signing-key-file={layout.pki / 'ca.key'}",
        # The default is below /usr, where a cluster must not write.
        f"--flex-volume-plugin-dir={layout.root / 'volume-plugins'}",
        *_CLIENT_RATE,
    ]
    if nodes:
        argv += ["--allocate-node-cidrs", f"--cluster-cidr={POD_CIDR}"]
        argv += [f"--service-cluster-ip-range={SERVICE_CIDR}"]
    else:
        # Endpoints, which EndpointSlices replace, are for old proxies, which no cluster here has.
        argv += ["--controllers=*,-endpoints-controller"]
    return Component("kube-controller-manager", tuple(argv), after)


def scheduler(layout: Layout, *, after: str) -> Component:
    argv = [
        str(layout.programs / "kube-scheduler"),
        f"--kubeconfig={layout.config / 'scheduler.kubeconfig'}",
        "--leader-elect=false",
        "--secure-port=0",
        *_CLIENT_RATE,
    ]
    return Component("kube-scheduler", tuple(argv), after)


def node(layout: Layout, *, name: str, address: str, port: int) -> list[Component]:
    """The node's components: containerd, its registry, kubelet and kube-proxy."""
    answering = f"tcp:127.0.0.1:{port}"
    kubelet = [
        str(layout.programs / "kubelet"),
        f"--config={layout.config / 'kubelet.json'}",
        f"--kubeconfig={layout.config / 'kubelet-client.kubeconfig'}",
        f"--hostname-override={name}",
        f"--node-ip={address}",
    ]
    proxy = [
        str(layout.programs / "kube-proxy"),
        f"--config={layout.config / 'kube-proxy.json'}",
    ]
    return [
        Component("containerd", ("containerd", f"--config={layout.config / 'containerd.toml'}")),
        Component(
            "docker-registry", ("docker-registry", "serve", str(layout.config / "registry.json"))
        ),
        Component("kubelet", tuple(kubelet), f"unix:{CONTAINERD_SOCKET}"),
        Component("kube-proxy", tuple(proxy), answering),
    ]


def audit_policy() -> Mapping[str, Any]:
    """The audit policy: user, verb and object of every read and write, without its contents."""
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata"}],
    }


def kubelet_config(layout: Layout) -> Mapping[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(layout.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(layout.pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(layout.pki / "kubelet.key"),
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,  # a lower score requires CAP_SYS_RESOURCE, which a container may lack
        "clusterDNS": [DNS_IP],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": str(layout.config / "resolv.conf"),
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "serializeImagePulls": False,
        # A changed Secret is in its pods within seconds, not a minute: a developer waits for it.
        "syncFrequency": "5s",
        # A developer's disk is often almost full, which must neither evict pods nor delete images.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
            "imagefs.inodesFree": "0%",
        },
    }


def proxy_config(layout: Layout, name: str) -> Mapping[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": POD_CIDR,
        "hostnameOverride": name,
        "clientConnection": {"kubeconfig": str(layout.config / "kube-proxy.kubeconfig")},
        # The size of the connection table is a setting of the whole machine, so it stays unchanged.
        "conntrack": {
            "maxPerCore": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    }


def registry_config(storage: Path) -> Mapping[str, Any]:
    return {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(storage)},
            "delete": {"enabled": True},
        },
        "http": {"addr": f":{REGISTRY_PORT}"},
    }


def registry_hosts() -> str:
    """TOML for containerd: the registry is a process beside containerd and speaks plain HTTP."""
    return f"""\
server = "http://127.0.0.1:{REGISTRY_PORT}"
[host."http://127.0.0.1:{REGISTRY_PORT}"]
capabilities = ["pull", "resolve"]
"""


def network_config(plugins_state: Path) -> Mapping[str, Any]:
    """CNI configuration: a routed veth pair per pod, which needs no bridge netfilter module."""
    subnet = POD_CIDR.replace("/16", "/24")
    return {
        "cniVersion": "0.4.0",
        "name": "localcluster",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": True,  # the host has no route back to a pod's address
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(plugins_state),
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "ranges": [[{"subnet": subnet}]],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def containerd_config(layout: Layout, *, images: Path, pause: str, plugins: str) -> str:
    """The TOML of containerd; `pause` is an image for a pod's namespaces, `plugins` a folder."""
    return f"""\
version = 2
root = "{images}"
state = "/run/containerd"

[grpc]
address = "{CONTAINERD_SOCKET}"

# The default is below the host's /opt.
[plugins."io.containerd.internal.v1.opt"]
path = "/run/containerd/opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
# A lower score requires CAP_SYS_RESOURCE, which a container may lack.
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "runc"
# The registry beside containerd has the layers: one copy of several GB is enough.
discard_unpacked_layers = true

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{layout.config / "cni"}"

[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{layout.config / "registries"}"
"""
