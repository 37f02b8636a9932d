"""The farm's authority on disk: made once, whole or not at all, believed after it was replaced."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.tls.authority import Authority, hosts_of
from buildtool.adapters.tls.certificates import DAY, key_id, life_of, new_key, public_bytes, public_key, signed_by
from buildtool.errors import ConfigurationError

NOW = 1_800_000_000.0


def test_an_authority_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    first = Authority.load(tmp_path / "tls", NOW)
    assert Authority.load(tmp_path / "tls", NOW + DAY).fingerprint == first.fingerprint
    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "tls").iterdir()] == [0o600]
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700


def test_what_it_signs_is_for_the_key_alone_and_ends_when_it_was_said(tmp_path: Path) -> None:
    authority = Authority.load(tmp_path, NOW)
    key = new_key()
    made = authority.sign(public_key(public_bytes(key.public_key())), "anna", NOW, 20.0)
    assert key_id(made) == key_id(key)
    assert life_of(made)[1] == NOW + 20
    assert life_of(made)[0] < NOW
    assert signed_by(made, authority.believed(NOW)[0])
    assert not signed_by(made, Authority.load(tmp_path / "other", NOW).believed(NOW)[0])


def test_the_server_s_certificate_is_kept_until_two_thirds_of_its_life_and_while_its_names_are_right(
    tmp_path: Path,
) -> None:
    authority = Authority.load(tmp_path, NOW)
    hosts = ["farm.example.org", "192.0.2.1", "2001:db8::1"]
    first = authority.server(hosts, NOW)
    assert hosts_of(first.certificate) == tuple(hosts)
    again = Authority.load(tmp_path, NOW)
    assert again.server(hosts[::-1], NOW + 19 * DAY).certificate == first.certificate
    later = again.server(hosts, NOW + 21 * DAY)
    assert life_of(later.certificate)[1] == NOW + 51 * DAY
    assert again.server(hosts[:1], NOW + 21 * DAY).certificate != later.certificate
    before = again.server(hosts, NOW + 21 * DAY)
    again.rotate(NOW + 21 * DAY)
    after = again.server(hosts, NOW + 21 * DAY)
    assert after.certificate != before.certificate
    assert signed_by(after.certificate, again.believed(NOW)[0])


def test_after_a_change_of_authority_the_old_one_leads_to_the_new_one_for_as_long_as_machines_may_be_away(
    tmp_path: Path,
) -> None:
    authority = Authority.load(tmp_path, NOW)
    (old,) = authority.believed(NOW)
    authority.rotate(NOW)
    new, older = authority.believed(NOW)
    assert older == old
    bridge, *roots = authority.chain(NOW + 399 * DAY)
    assert key_id(bridge) == key_id(new) == authority.fingerprint
    assert signed_by(bridge, old)
    assert roots == [new, old]
    assert authority.chain(NOW + 401 * DAY) == authority.believed(NOW + 401 * DAY) == (new,)
    assert Authority.load(tmp_path, NOW).chain(NOW) == (bridge, new, old)


@given(st.binary(max_size=40), st.sampled_from(["authority-1.pem", "server.pem"]))
def test_a_file_that_was_damaged_is_named(tmp_path_factory: pytest.TempPathFactory, garbage: bytes, name: str) -> None:
    directory = tmp_path_factory.mktemp("tls")
    Authority.load(directory, NOW).server(["farm"], NOW)
    path = directory / name
    text = path.read_bytes()
    path.write_bytes(text[:100] + garbage + text[140:])
    with pytest.raises(ConfigurationError, match=f"{name}: .*; put the file back from a backup$"):
        Authority.load(directory, NOW).server(["farm"], NOW)


def test_a_certificate_of_another_key_beside_a_key_is_noticed(tmp_path: Path) -> None:
    Authority.load(tmp_path, NOW).server(["farm"], NOW)
    other = Authority.load(tmp_path / "other", NOW)
    key, _, _ = (tmp_path / "server.pem").read_bytes().partition(b"-----BEGIN CERTIFICATE")
    _, begin, rest = (tmp_path / "other" / "authority-1.pem").read_bytes().partition(b"-----BEGIN CERTIFICATE")
    (tmp_path / "server.pem").write_bytes(key + begin + rest)
    with pytest.raises(ConfigurationError, match=r"server\.pem: its first certificate is not of its private key"):
        Authority.load(tmp_path, NOW).server(["farm"], NOW)
    assert other.fingerprint
