"""Addresses of a metaserver: hosts and endpoint strings are read in one way, and what contradicts itself is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import UsageError
from buildtool.model.access.join_line import ADDRESSES
from buildtool.model.access.metaserver_addresses import (
    MetaserverAddress,
    Speech,
    addresses_meant,
    at_ports,
    read_addresses,
)

CONFIGURED = (MetaserverAddress("127.0.0.1", 23432),)


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("Farm.Example.org", MetaserverAddress("farm.example.org")),
        ("[::1]", MetaserverAddress("::1")),
        ("::1", MetaserverAddress("::1")),
        ("tls:farm:23432", MetaserverAddress("farm", 23432, Speech.TLS)),
        ("TLS:farm:23432", MetaserverAddress("farm", 23432, Speech.TLS)),
        ("tls:host=farm:port=443", MetaserverAddress("farm", 443, Speech.TLS)),
        ("ssl:farm:443:caCertsDir=/etc/farm", MetaserverAddress("farm", 443, Speech.TLS, "/etc/farm")),
        ("tls:farm:443:trustRoots=/etc/farm", MetaserverAddress("farm", 443, Speech.TLS, "/etc/farm")),
        (r"tls:farm:443:trustRoots=C\:/f\\x\,y", MetaserverAddress("farm", 443, Speech.TLS, r"C:/f\x,y")),
        ("tls:[2001:DB8::1]:443", MetaserverAddress("2001:db8::1", 443, Speech.TLS)),
        (r"tls:2001\:db8\:\:1:443", MetaserverAddress("2001:db8::1", 443, Speech.TLS)),
        ("tcp:127.0.0.1:1:timeout=5", MetaserverAddress("127.0.0.1", 1, Speech.PLAIN, timeout=5.0)),
        (
            "tls:farm:1:certificate=/c.pem:privateKey=/k.pem",
            MetaserverAddress("farm", 1, Speech.TLS, "", "/c.pem", "/k.pem"),
        ),
    ],
)
def test_a_host_or_an_endpoint_string_means_one_address(said: str, right: MetaserverAddress) -> None:
    assert read_addresses(said, "--host") == (right,)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("", "it is empty"),
        ("farm:23432", "a port is no part of it"),
        ("tls:farm", "has no port"),
        ("tls:farm:0", "is no port"),
        ("tls:2001:db8::1:443", "in brackets"),
        ("tls:farm:443:/etc/farm", "is too much"),
        ("tls:farm:443:trustroots=/etc", "did you mean trustRoots?"),
        ("tls:farm:443:host=barn", "says host twice"),
        ("tls:farm:70000", "'70000' is no port: a number from 1 to 65535: say it like tls:farm.example.org:23432"),
        ("tls:farm:443:trustRoots=", "trustRoots is empty"),
        ("tcp:farm:443:trustRoots=/etc", "tcp: is plain"),
        ("tls:farm:443:certificate=/c.pem", "go together"),
        ("tls:farm:443:timeout=never", "timeout is a whole number"),
        ("tls:fa rm:443", "the host 'fa rm' is not usable"),
        ("tls:a:1,b", "beside a plain host"),
        (",".join(["a"] * (ADDRESSES + 1)), "at most 8 are tried"),
        (7, "it is not text"),
        ([], "names no metaserver"),
    ],
)
def test_what_is_no_address_is_refused_with_what_is_wrong(said: object, words: str) -> None:
    with pytest.raises(UsageError, match=r"\A--host .*") as caught:
        read_addresses(said, "--host")
    assert words in str(caught.value)


@given(st.text(st.sampled_from("tlscp:[]\\,=a1.-:: \0é"), max_size=60))
def test_whatever_is_said_is_read_or_refused_with_a_usage_error(said: str) -> None:
    try:
        found = read_addresses(said, "--host")
    except UsageError:
        return
    assert 1 <= len(found) <= ADDRESSES
    assert all(one.host for one in found)


def test_several_are_said_as_a_list_or_with_commas() -> None:
    both = (MetaserverAddress("a", 1, Speech.TLS), MetaserverAddress("b", 2, Speech.PLAIN))
    assert read_addresses("tls:a:1, tcp:b:2", "host =") == both
    assert read_addresses(["tls:a:1", "tcp:b:2"], "host =") == both


def test_a_port_goes_with_plain_hosts_and_with_nothing_that_has_one() -> None:
    hosts = read_addresses("a,b", "--host")
    assert [one.where for one in addresses_meant(hosts, 0, CONFIGURED, use_tls=False)] == ["a:23432", "b:23432"]
    assert [one.where for one in addresses_meant(hosts, 9, CONFIGURED, use_tls=False)] == ["a:9", "b:9"]
    assert [one.where for one in addresses_meant((), 9, CONFIGURED, use_tls=False)] == ["127.0.0.1:9"]


def test_use_tls_is_the_short_form_of_an_endpoint_string() -> None:
    (one,) = addresses_meant(read_addresses("farm", "--host"), 443, CONFIGURED, use_tls=True)
    assert (one,) == read_addresses("tls:farm:443", "--host")


@pytest.mark.parametrize(("port", "use_tls", "flag"), [(1, False, "--port"), (0, True, "--use-tls")])
@pytest.mark.parametrize("configured", [False, True])
def test_an_endpoint_string_with_a_flag_that_says_the_same_is_refused(
    port: int, *, use_tls: bool, flag: str, configured: bool
) -> None:
    endpoint = read_addresses("tls:farm:443", "--host")
    said = () if configured else endpoint
    with pytest.raises(UsageError, match=f"{flag} goes with a plain host: .* is an endpoint string"):
        addresses_meant(said, port, endpoint if configured else CONFIGURED, use_tls=use_tls)


def test_an_endpoint_string_beside_a_plain_host_is_refused_however_they_are_said() -> None:
    with pytest.raises(UsageError, match="--host has an endpoint string beside a plain host"):
        addresses_meant(
            (*read_addresses("tls:a:1", "--host"), *read_addresses("b", "--host")), 0, CONFIGURED, use_tls=False
        )


def test_a_configured_host_without_a_port_has_the_control_port() -> None:
    assert [one.port for one in at_ports(read_addresses("tls:a:1,tls:b:2", "host ="), 23432)] == [1, 2]
    assert [one.port for one in at_ports(read_addresses("a", "host ="), 23432)] == [23432]
