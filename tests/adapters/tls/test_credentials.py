"""What a machine keeps of who it is: made once, replaced by what is whole, and left alone by what is of no use."""

from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from buildtool.adapters.tls.certificates import certificate_text, client_certificate, new_authority, new_key
from buildtool.adapters.tls.credentials import CredentialStore
from buildtool.errors import ConfigurationError, DecodeError
from buildtool.protocol.enrolment import Credentials

NOW = 1_800_000_000.0
AUTHORITY = new_authority("farm", NOW)
WHERE = (("farm.test", 23432),)


@pytest.fixture
def store(tmp_path: Path) -> CredentialStore:
    return CredentialStore(tmp_path / "identity")


def told(store: CredentialStore) -> Credentials:
    """Return what a metaserver answers to the key of a store."""
    made = client_certificate(AUTHORITY, store.key().public_key(), "attic", NOW)
    authority = certificate_text([AUTHORITY.certificate]).decode()
    return Credentials("attic", "build server", certificate_text([made]).decode(), NOW + 1, (authority,))


def test_what_is_kept_is_read_again_and_only_its_owner_may(store: CredentialStore) -> None:
    assert store.load() is None
    kept, found = store.keep(told(store), WHERE, "digest"), store.load()
    assert found is not None
    assert (found.name, found.role, found.addresses, found.line) == ("attic", "build server", WHERE, "digest")
    assert (found.believed, found.identified.certificate) == (kept.believed, kept.identified.certificate)
    assert {path.name: path.stat().st_mode & 0o077 for path in store.directory.iterdir()} == {
        "key.pem": 0, "identity.json": 0,
    }  # fmt: skip


def _of_another_key(said: Credentials) -> Credentials:
    other = client_certificate(AUTHORITY, new_key().public_key(), "attic", NOW)
    return evolve(said, certificate=certificate_text([other]).decode())


@pytest.mark.parametrize(
    "spoilt",
    [
        _of_another_key,
        lambda said: evolve(said, certificate="no certificate"),
        lambda said: evolve(said, certificate=said.certificate * 2),
        lambda said: evolve(said, authorities=("no certificate",)),
        lambda said: evolve(said, authorities=()),
    ],
    ids=["another key", "no certificate", "two", "no authority", "none"],
)
def test_an_answer_that_is_of_no_use_leaves_what_was_there(
    store: CredentialStore, spoilt: Callable[[Credentials], Credentials]
) -> None:
    good = told(store)
    store.keep(good, WHERE)
    before = (store.directory / "identity.json").read_bytes()
    with pytest.raises(DecodeError, match="of no use"):
        store.keep(spoilt(good), WHERE)
    assert (store.directory / "identity.json").read_bytes() == before


def test_a_key_that_was_removed_meanwhile_is_told(store: CredentialStore) -> None:
    good = told(store)
    store.key_file.unlink()
    with pytest.raises(ConfigurationError, match="was removed meanwhile: join again"):
        store.keep(good, WHERE)


def test_of_a_key_that_was_half_made_nothing_is_left_once_there_is_one_nor_after_it_was_removed(
    store: CredentialStore,
) -> None:
    store.directory.mkdir()
    (store.directory / ".key.pem.0123456789abcdef").write_text("-----BEGIN PRIVATE")
    store.key()
    assert [path.name for path in store.directory.iterdir()] == ["key.pem"]
    (store.directory / ".key.pem.0123456789abcdef").write_text("-----BEGIN PRIVATE")
    store.remove()
    assert list(store.directory.iterdir()) == []
    store.directory.rmdir()
    store.remove()
