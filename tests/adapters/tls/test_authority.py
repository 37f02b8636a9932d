"""The farm's authority on disk: made once, whole or not at all, believed after it was replaced."""

from __future__ import annotations

import random
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.tls.authority import Authority, copy_authorities, decrypt_authorities, hosts_of
from buildtool.adapters.tls.certificates import DAY, key_id, life_of, new_key, public_bytes, public_key, signed_by
from buildtool.errors import ConfigurationError
from tests.simulation.disk import Crashed, SimulatedDisk

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


PLACE, COPY = Path("state/tls"), Path("copy")


def cut_off(prepare: Callable[[SimulatedDisk], object], act: Callable[[SimulatedDisk], object],
            judge: Callable[[SimulatedDisk, bool], object]) -> None:  # fmt: skip
    """Cut an act off at each operation on the disk in turn, and judge what is left; it is told whether all was done.

    What ``prepare`` does is done before. A power cut takes what was not synced, ``kill -9`` nothing, in turn.
    """
    for step in range(60):
        disk = SimulatedDisk(random.Random(step))  # noqa: S311 - a seed is to repeat what it draws
        disk.put(Path("state/lock"), b"")
        disk.put(COPY / "lock", b"")
        prepare(disk)
        disk.crash_at = disk.operations + step
        done = False
        with suppress(Crashed):
            act(disk)
            done = True
        disk.crash() if step % 2 else disk.stop()
        judge(disk, done)
        assert not [name for name in disk.names(PLACE) if name.startswith(".")], "half a private key is left"
        if done:
            return
    raise AssertionError("it was never whole")


def test_wherever_the_first_start_is_cut_off_the_next_one_has_one_authority_and_a_certificate_by_it() -> None:
    def start(disk: SimulatedDisk) -> Authority:
        made = Authority.load(PLACE, NOW, disk)
        made.server(["farm"], NOW)
        return made

    def judge(disk: SimulatedDisk, _done: bool) -> None:
        again = start(disk)
        assert again.fingerprint == start(disk).fingerprint
        assert signed_by(again.server(["farm"], NOW).certificate, again.believed(NOW)[0])
        assert len([name for name in disk.names(PLACE) if name.startswith("authority")]) == 1

    cut_off(lambda _disk: None, start, judge)


def test_wherever_a_change_of_authority_is_cut_off_the_old_one_is_believed_and_the_next_try_makes_it() -> None:
    fingerprints: list[str] = []

    def first(disk: SimulatedDisk) -> None:
        old = Authority.load(PLACE, NOW, disk)
        old.server(["farm"], NOW)
        fingerprints.append(old.fingerprint)

    def judge(disk: SimulatedDisk, done: bool) -> None:
        found = Authority.load(PLACE, NOW, disk)
        old = fingerprints[-1]
        assert old in map(key_id, found.believed(NOW))
        assert found.fingerprint != old or not done
        assert signed_by(found.server(["farm"], NOW).certificate, found.believed(NOW)[0])
        if found.fingerprint == old:
            found.rotate(NOW)
        assert [key_id(one) for one in found.believed(NOW)] == [found.fingerprint, old]
        assert found.fingerprint != old

    def rotate(disk: SimulatedDisk) -> None:
        made = Authority.load(PLACE, NOW, disk)
        made.rotate(NOW)
        made.server(["farm"], NOW)

    cut_off(first, rotate, judge)


def test_wherever_opening_the_authorities_of_a_backup_is_cut_off_the_next_try_opens_all() -> None:
    fingerprints: list[str] = []

    def copied(disk: SimulatedDisk) -> None:
        made = Authority.load(Path("state/old"), NOW, disk)
        made.rotate(NOW)
        fingerprints.append(made.fingerprint)
        disk.put(PLACE / "lock", b"")
        assert copy_authorities(Path("state/old"), PLACE, b"secret", disk) == 2

    def judge(disk: SimulatedDisk, done: bool) -> None:
        assert decrypt_authorities(PLACE, b"secret", disk) == 0 or not done
        found = Authority.load(PLACE, NOW, disk)
        assert (found.fingerprint, len(found.believed(NOW))) == (fingerprints[-1], 2)

    cut_off(copied, lambda disk: decrypt_authorities(PLACE, b"secret", disk), judge)


def test_what_another_program_may_be_writing_right_now_is_left_alone(tmp_path: Path) -> None:
    Authority.load(tmp_path, NOW)
    half = tmp_path / ".server.pem.0123456789abcdef"
    half.write_bytes(b"half")
    now = half.stat().st_mtime
    Authority.load(tmp_path, now + 30)
    assert half.exists()
    Authority.load(tmp_path, now + 90)
    assert not half.exists()
