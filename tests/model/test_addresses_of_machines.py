"""Hosts: whatever is written for a machine is read in one way everywhere, or refused in one line that helps."""

import ipaddress
from urllib.parse import urlsplit

import idna
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from buildtool.errors import UsageError
from buildtool.model.addresses import (
    NAME_LIMIT,
    ascii_name,
    at_port,
    in_url,
    is_address,
    valid_bind,
    valid_host,
    valid_url,
)

PIECES = st.text(st.sampled_from("abz019._-:[]%/@ \t\n\x00üß。１é\u202e#?"), max_size=30)
ADDRESSES4 = st.ip_addresses(v=4)
ADDRESSES6 = st.ip_addresses(v=6)
LABELS = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,10}[a-z0-9_])?", fullmatch=True)
NAMES = (
    st.lists(LABELS, min_size=1, max_size=5).map(".".join).filter(lambda name: not name.rpartition(".")[2].isdigit())
)
HOSTS = st.one_of(NAMES, ADDRESSES4.map(str), ADDRESSES6.map(str))
PORTS = st.integers(1, 65_535)

READERS = [valid_host, valid_bind, valid_url]


@given(st.one_of(st.text(), PIECES, st.none(), st.integers(), st.binary()), st.sampled_from(READERS))
@example("1" * 300, valid_host)
@example("[" * 2_000, valid_host)
@example("a:" * 1_000, valid_host)
@example("@" * 2_000, valid_url)
def test_whatever_is_said_is_taken_or_refused_in_one_short_printable_line(text: object, read: object) -> None:
    assert callable(read)
    refused = None
    try:
        found = read(text, "--host")
    except UsageError as error:
        refused = str(error)
    if refused is not None:
        assert refused.startswith("--host ")
        assert "is not usable: " in refused
        assert "; say " in refused
        assert refused.isprintable()
        assert len(refused) < 700
    else:
        assert found.isascii()
        assert found.isprintable()
        assert " " not in found
        assert read(found, "--host") == found


@given(HOSTS, st.sampled_from(["", " ", "\n", "\t "]), st.sampled_from(["", " ", "\r\n", ".", ". "]))
def test_blanks_around_a_host_and_a_dot_behind_a_name_do_not_count(host: str, before: str, behind: str) -> None:
    if ":" in host:
        behind = behind.replace(".", "")
    assert valid_host(f"{before}{host.upper()}{behind}", "host =") == valid_host(host, "host =")


@given(ADDRESSES6)
@example(ipaddress.IPv6Address("::ffff:127.0.0.1"))
def test_an_ipv6_address_is_the_same_however_it_is_written(address: ipaddress.IPv6Address) -> None:
    found = {valid_host(text, "host =") for text in (str(address), address.exploded, f"[{address}]", f"[{address}] ")}
    assert found == {str(address.ipv4_mapped or address)}
    assert all(map(is_address, found))


@given(ADDRESSES6, st.sampled_from(["eth0", "br-1.20", "0"]))
def test_the_scope_of_an_address_is_kept_whether_it_was_written_as_people_or_as_urls_do(
    address: ipaddress.IPv6Address, scope: str
) -> None:
    assume(address.ipv4_mapped is None)
    assert valid_host(f"{address}%{scope}", "host =") == f"{address}%{scope}"
    assert valid_host(f"[{address}%25{scope}]", "host =") == f"{address}%{scope}"
    assert in_url(f"{address}%{scope}") == f"[{address}%25{scope}]"


@given(ADDRESSES4)
def test_an_ipv4_address_with_fewer_numbers_is_what_the_system_takes_it_for(address: ipaddress.IPv4Address) -> None:
    one, two, three, four = address.packed
    for text in (f"{one}.{two}.{three}.{four}", f"{one}.{two}.{three << 8 | four}", f"{one}.{int(address) & 0xFFFFFF}"):
        assert valid_host(text, "host =") == str(address)


@given(HOSTS, PORTS)
def test_a_port_behind_the_host_is_refused_with_what_to_say_instead(host: str, port: int) -> None:
    with pytest.raises(UsageError) as caught:
        valid_host(at_port(valid_host(host, ""), port), "--host", "--port")
    assert str(caught.value).endswith(f"say {valid_host(host, '')!r}, and --port {port}")


@given(HOSTS, st.sampled_from(["http://{}", "https://{}/", "http://{}:8080/builds?state=failed", "ssh://me@{}/x"]))
def test_a_url_in_the_place_of_a_host_is_refused_with_the_host_in_it(host: str, url: str) -> None:
    with pytest.raises(UsageError) as caught:
        valid_host(url.format(in_url(valid_host(host, ""))), "host =")
    assert str(caught.value).endswith(f"it is a URL; say {valid_host(host, '')!r}")


@given(HOSTS, st.one_of(st.none(), PORTS), st.sampled_from(["", "/", "/farm", "/a/b/"]))
def test_a_url_is_read_as_the_library_reads_it(host: str, port: int | None, path: str) -> None:
    canonical = valid_host(host, "")
    found = valid_url(f"HTTP://{in_url(host)}{'' if port is None else f':{port}'}{path}", "public_url =")
    parts = urlsplit(found)
    assert (parts.scheme, parts.hostname, parts.port, parts.path) == ("http", canonical, port, path.rstrip("/"))


@given(st.text(st.characters(categories=["Ll"], max_codepoint=0x17F), min_size=1, max_size=20))
@example("bücher")
@example("faß")
@example("col·legi")
@example("ŀŀl")
def test_a_name_in_other_letters_becomes_what_the_registries_call_it(label: str) -> None:
    try:
        known = idna.encode(f"{label}.example", uts46=True).decode("ascii")
    except idna.IDNAError:
        return  # one of the letters is in no name today
    assert valid_host(f"{label}.Example", "host =") == known
    assert ascii_name(f"{label}.Example.") == known


NO_MACHINES = [
    "",
    " ",
    ".",
    "a..b",
    "-a.b",
    "a b",
    "a.1",
    "1.2.3.4.5",
    "8080",
    "10.0.0.300",
    "010.0.0.1",
    "[::1",
    "::1]",
]
NO_MACHINES += ["[farm]", "a\x00b", "a" * 64, "x." * 127 + "yz", "fe80::1%", "farm:", "é!"]


@pytest.mark.parametrize(
    "port", ["0", "65536", "199999", "000000080", "00000199999", "9" * 5000, "", " 80", "+80", "٨٠"]
)
def test_a_port_in_a_url_is_one_from_1_to_65535_and_read_whole(port: str) -> None:
    with pytest.raises(UsageError, match="is not usable"):
        valid_url(f"http://farm:{port}/x", "public_url =")


@pytest.mark.parametrize("text", NO_MACHINES)
def test_what_names_no_machine_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        valid_host(text, "host =")


def test_the_longest_name_is_taken() -> None:
    name = "x." * 126 + "y"
    assert len(name) == NAME_LIMIT
    assert valid_host(name, "host =") == name


@given(NAMES)
def test_a_program_listens_on_an_address_and_never_on_a_name(name: str) -> None:
    with pytest.raises(UsageError, match="it is a name; say an IP address of this machine"):
        valid_bind(name, "bind =")
