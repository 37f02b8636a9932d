"""The protocols that a client names, read from its first bytes however they come."""

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.tls.client_hello import HELLO_LIMIT, MOST_RECORDS, named_protocols


def hello(*protocols: str, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, server: str | None = None) -> bytes:
    """The first bytes of OpenSSL as a client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = version
    if protocols:
        context.set_alpn_protocols(list(protocols))
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server).do_handshake()
    return outgoing.read()


def in_records(data: bytes, size: int) -> bytes:
    """The same message in records of at most ``size`` bytes."""
    message, parts = data[5:], []
    for at in range(0, len(message), size):
        part = message[at : at + size]
        parts.append(data[:3] + len(part).to_bytes(2, "big") + part)
    return b"".join(parts)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("named", [(), ("http/1.1",), ("h2", "http/1.1", "buildtool-farm"), ("buildtool/3",)])
@pytest.mark.parametrize("server", [None, "farm.example.org"])
def test_what_openssl_names_is_read(named: tuple[str, ...], version: ssl.TLSVersion, server: str | None) -> None:
    data = hello(*named, version=version, server=server)
    wanted = tuple(one.encode() for one in named)
    assert named_protocols(data) == wanted
    assert named_protocols(data + b"more") == wanted
    for parts in (2, 7, MOST_RECORDS):
        split = in_records(data, -(-(len(data) - 5) // parts))
        assert named_protocols(split) == wanted
        for cut in range(len(split)):
            needed = named_protocols(split[:cut])
            assert isinstance(needed, int), "the rest is waited for"
            assert cut < needed <= len(split)


def test_a_message_in_very_many_records_names_nothing_so_that_no_time_is_spent_on_it() -> None:
    assert named_protocols(in_records(SAMPLE, 1)) == ()


SAMPLE = hello("http/1.1", "buildtool-farm")


@given(st.data())
def test_whatever_comes_is_read_or_names_nothing_and_is_not_waited_for_beyond_a_bound(data: st.DataObject) -> None:
    changed = bytearray(SAMPLE)
    for _ in range(data.draw(st.integers(0, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    said = bytes(changed) + data.draw(st.binary(max_size=50))
    needed = named_protocols(said)
    assert not isinstance(needed, int) or len(said) < needed <= HELLO_LIMIT + 5
    assert not isinstance(named_protocols(said + bytes(HELLO_LIMIT)), int)


@given(st.binary(max_size=200))
def test_noise_names_nothing(noise: bytes) -> None:
    named = named_protocols(noise)
    assert isinstance(named, int) or named == ()
