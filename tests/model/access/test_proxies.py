"""Who asks is who connected, unless a proxy that the configuration names says otherwise; nobody else is believed."""

import ipaddress
from pathlib import Path

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address

from buildtool.configuration.settings import load_settings
from buildtool.errors import UsageError
from buildtool.model.access.proxies import NO_PROXIES, Proxies
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.programs.common.visitors import HttpVisitors
from tests.support.memory import WallClock

OURS = Proxies.of(("127.0.0.1", "10.1.0.0/16", "2001:db8::/32"))
LOCAL = Proxies.of(["127.0.0.1"])
addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
headers = st.lists(st.one_of(addresses, st.text(max_size=30), st.just("10.1.2.3")), max_size=6)


@given(addresses, headers)
def test_who_is_no_proxy_is_believed_nothing(peer: str, forwarded: list[str]) -> None:
    assert NO_PROXIES.client(peer, forwarded) == peer
    if not any(ipaddress.ip_address(peer) in network for network in OURS.networks):
        assert OURS.client(peer, forwarded) == peer


@given(headers, addresses.filter(lambda one: not LOCAL.includes(one)))
def test_what_stands_before_the_client_changes_nothing(told: list[str], client: str) -> None:
    """A client may send the header itself: what the first proxy added after that counts."""
    assert LOCAL.client("127.0.0.1", [*told, client]) == str(
        getattr(ipaddress.ip_address(client), "ipv4_mapped", None) or client
    )


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["192.0.2.7"], "192.0.2.7"),
        ("127.0.0.1", ["6.6.6.6, 192.0.2.7, 10.1.0.9"], "192.0.2.7"),
        ("127.0.0.1", ["6.6.6.6", "192.0.2.7:4711"], "192.0.2.7"),
        ("127.0.0.1", ["[2001:db9::1]:443"], "2001:db9::1"),
        ("::ffff:127.0.0.1", ["192.0.2.7"], "192.0.2.7"),
        ("127.0.0.1", ["192.0.2.7, nonsense"], "127.0.0.1"),
        ("127.0.0.1", ["nonsense, 10.1.0.9"], "10.1.0.9"),
        ("127.0.0.1", ["192.0.2.7\r\nX: y"], "127.0.0.1"),
        ("127.0.0.1", ["6.6.6.6, " + "10.1.0.9, " * 500 + "10.1.0.8"], "10.1.0.9"),
        ("", ["192.0.2.7"], ""),
    ],
)
def test_the_first_address_from_the_end_that_is_no_proxy_s_is_the_client_s(
    peer: str, forwarded: list[str], client: str
) -> None:
    assert OURS.client(peer, forwarded) == client


def test_a_proxy_may_come_over_a_socket_in_a_directory() -> None:
    assert Proxies.of(["unix"]).client("", ["192.0.2.7"]) == "192.0.2.7"
    assert Proxies.of(["unix", "10.0.0.1"]).words() == ["10.0.0.1/32", "unix"]


@pytest.mark.parametrize(
    "value", ["127.0.0.1", 5, None, {"a": 1}, [5], ["proxy.example.org"], ["10.0.0.1/8"], ["10.0.0.0/33"], ["x\n"],
              [""] * 33]
)  # fmt: skip
def test_a_wrong_value_is_one_line(value: object) -> None:
    with pytest.raises(UsageError, match=r"^proxies") as caught:
        Proxies.of(value)
    assert "\n" not in str(caught.value)


@frozen
class _From:
    """A connection that comes from an address."""

    host: str

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", self.host, 4)


def test_a_visitor_has_the_address_that_a_proxy_of_the_farm_tells_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "config.py"
    path.write_text("trusted = 'loopback'\nproxies = ['10.1.0.9']\n")
    visitors = HttpVisitors(lambda: load_settings(path), WallClock())

    def who(peer: str, **headers: str) -> Principal:
        transport = _From(peer)
        return visitors.principal(transport, lambda name: [headers[name]] if name in headers else [])

    told = {"X-Forwarded-For": "192.0.2.7"}
    assert who("10.1.0.9", **told) == Principal(PrincipalRole.VISITOR, address="192.0.2.7")
    assert who("10.1.0.8", **told).address == "10.1.0.8"
    assert who("127.0.0.1").trusted
    assert not who("127.0.0.1", **told).trusted
    assert not who("10.1.0.9", **{"X-Forwarded-For": "127.0.0.1"}).trusted
    assert not who("127.0.0.1", Host="evil.example").trusted


@pytest.mark.parametrize(
    ("network", "stands"),
    [("192.0.2.1", True), ("192.0.2.2", False), ("2001:db8:0:1::/64", True), ("2001:db8:0:2::/64", False), ("", False)],
)
def test_the_network_of_a_proxy_s_connections_is_known(network: str, *, stands: bool) -> None:
    assert Proxies.of(["192.0.2.1", "2001:db8:0:1::5", "unix"]).stands_behind(network) == stands


def test_whether_it_came_by_tls_is_what_the_connection_is_or_what_a_proxy_of_the_farm_says() -> None:
    proxies = Proxies.of(["10.0.0.1", "unix"])
    for said in ([], ["https"], ["http"]):
        assert proxies.by_tls("192.0.2.7", said, direct=True)
        assert not proxies.by_tls("192.0.2.7", said, direct=False), "anybody can say so"
    for peer in ("10.0.0.1", ""):
        assert proxies.by_tls(peer, ["http", "http, HTTPS"], direct=False)
        for said in ([], ["http"], ["https, http"], ["https", "http"], [""]):
            assert not proxies.by_tls(peer, said, direct=True), "from where the proxy was asked it came openly"
