"""The link between host and node: a veth pair, deleted with the node's network namespace."""

import ipaddress
import json
import time
from dataclasses import dataclass
from pathlib import Path

from localcluster import shell
from localcluster.errors import LocalClusterError

# The range is for tests of network devices (RFC 2544), so no machine's real network uses it.
_RANGE = ipaddress.IPv4Network("198.18.0.0/15")
_PREFIX = 30
NODE_INTERFACE = "eth0"


@dataclass(frozen=True)
class Link:
    """A link: `name` is the host's interface; the addresses have no prefix length."""

    name: str
    host: str
    node: str

    @property
    def prefix(self) -> int:
        return _PREFIX


def link_name(cluster_id: str) -> str:
    return f"lc{cluster_id}"


def plan(cluster_id: str, routes: str) -> Link:
    """A link on a network that no route uses; `routes` is the output of `ip -json route`."""
    taken = [
        ipaddress.IPv4Network(route["dst"])
        for route in json.loads(routes)
        if route["dst"] != "default"
    ]
    count = 2 ** (_PREFIX - _RANGE.prefixlen)
    for step in range(count):
        offset = (int(cluster_id, 16) + step) % count
        first = int(_RANGE.network_address) + offset * 2 ** (32 - _PREFIX)
        subnet = ipaddress.IPv4Network((first, _PREFIX))
        if not any(subnet.overlaps(other) for other in taken):
            host, node = subnet.hosts()
            return Link(link_name(cluster_id), str(host), str(node))
    raise LocalClusterError(f"All of {_RANGE} is routed on this machine: no address for a node.")


def routes() -> str:
    return shell.run(["ip", "-json", "-4", "route", "show", "table", "all"])


def connect(link: Link, pid: int) -> None:
    """Creates the link to the network namespace of process `pid`; runs on the host."""
    _ip("link", "add", link.name, "type", "veth", "peer", "name", NODE_INTERFACE, "netns", str(pid))
    _ip("address", "add", f"{link.host}/{link.prefix}", "dev", link.name)
    _ip("link", "set", link.name, "up")


def accept(link: Link, *, timeout: float = 30.0) -> None:
    """Waits for the node's end of the link and configures it; runs inside the node."""
    deadline = time.monotonic() + timeout
    while not (Path("/sys/class/net") / NODE_INTERFACE).exists():
        if time.monotonic() > deadline:
            raise LocalClusterError("The link to the host did not appear.")
        time.sleep(0.02)
    _ip("link", "set", "lo", "up")
    _ip("address", "add", f"{link.node}/{link.prefix}", "dev", NODE_INTERFACE)
    _ip("link", "set", NODE_INTERFACE, "up")
    _ip("route", "add", "default", "via", link.host)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    # After the node is killed, no process closes the connections to its pods. The kernel retries
    # for 100 s by default, and keeps the namespace and the interface until then.
    Path("/proc/sys/net/ipv4/tcp_orphan_retries").write_text("3")


def disconnect(cluster_id: str, *, timeout: float = 10.0) -> None:
    """Removes the host's interface if it still exists, and so the node's interface."""
    name = link_name(cluster_id)
    if not _exists(name):
        return
    shell.succeeds(["ip", "link", "delete", name])
    deadline = time.monotonic() + timeout
    while _exists(name):
        if time.monotonic() > deadline:
            raise LocalClusterError(f"The network interface {name} cannot be removed.")
        time.sleep(0.02)


def _exists(name: str) -> bool:
    return (Path("/sys/class/net") / name).exists()


def _ip(*arguments: str) -> None:
    shell.run(["ip", *arguments])
