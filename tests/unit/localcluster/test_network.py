import ipaddress
import json

import pytest

from localcluster import network
from localcluster.errors import LocalClusterError

ELSEWHERE = json.dumps([{"dst": "default"}, {"dst": "192.0.2.0/24"}, {"dst": "127.0.0.1"}])


def test_both_ends_share_an_unused_network() -> None:
    link = network.plan("00000000", ELSEWHERE)
    assert (link.name, link.host, link.node) == ("lc00000000", "198.18.0.1", "198.18.0.2")


def test_clusters_have_networks_of_their_own() -> None:
    assert network.plan("00000000", ELSEWHERE).host != network.plan("00000001", ELSEWHERE).host


def test_a_routed_network_is_skipped() -> None:
    first = network.plan("00000000", ELSEWHERE)
    taken = json.dumps([{"dst": "198.18.0.0/30"}])
    second = network.plan("00000000", taken)
    assert ipaddress.ip_address(second.host) == ipaddress.ip_address(first.host) + 4


def test_no_free_network_is_an_error() -> None:
    with pytest.raises(LocalClusterError, match="no address for a node"):
        network.plan("00000000", json.dumps([{"dst": "198.18.0.0/15"}]))


def test_an_interface_name_is_short_enough_for_the_kernel() -> None:
    assert len(network.link_name("ffffffff")) <= 15
