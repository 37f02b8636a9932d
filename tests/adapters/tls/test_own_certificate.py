"""A certificate that the operator brings: what is refused in one line, and when its files are read again."""

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from buildtool.adapters.tls.certificates import (
    PEM_LIMIT,
    ShownKey,
    certificate_text,
    key_text,
    new_authority,
    new_key,
    server_certificate,
)
from buildtool.adapters.tls.own_certificate import OwnFiles, read_own_certificate
from buildtool.errors import ConfigurationError

NOW = 1_800_000_000.0
DAY = 86_400.0
AUTHORITY = new_authority("Public Trust", NOW)


class Files:
    """The two files of a certificate."""

    def __init__(self, directory: Path) -> None:
        self.certificate, self.key = directory / "fullchain.pem", directory / "privkey.pem"
        self.renew(90 * DAY)

    def renew(self, life: float) -> None:
        key = new_key()
        made = server_certificate(AUTHORITY, key.public_key(), ["farm.example.org"], NOW, life)
        self.certificate.write_bytes(certificate_text([made, AUTHORITY.certificate]))
        self.key.write_bytes(key_text(key))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_a_certificate_is_read_with_its_chain(files: Files) -> None:
    found = read_own_certificate(files.certificate, files.key, NOW)
    assert found.chain == (AUTHORITY.certificate,)


def test_both_may_stand_in_one_file(files: Files, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(files.key.read_bytes() + files.certificate.read_bytes())
    assert read_own_certificate(both, both, NOW) == read_own_certificate(files.certificate, files.key, NOW)


def pem(key: ShownKey, password: bytes = b"") -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def test_a_chain_in_the_wrong_order_is_told_as_that(files: Files) -> None:
    own = read_own_certificate(files.certificate, files.key, NOW)
    files.certificate.write_bytes(certificate_text([AUTHORITY.certificate, own.certificate]))
    with pytest.raises(ConfigurationError, match=r"stands behind another one: it comes first"):
        read_own_certificate(files.certificate, files.key, NOW)


@pytest.mark.parametrize(
    ("which", "text", "words"),
    [
        ("certificate", b"", "tls_certificate = .*fullchain.pem: it holds no certificate"),
        ("certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "it holds no certificate"),
        ("key", b"", "tls_key = .*privkey.pem: it holds no private key that can be read without a password"),
        ("key", pem(ec.generate_private_key(ec.SECP256R1()), b"secret"), "without a password"),
        ("key", pem(rsa.generate_private_key(65537, 1024)), "is none that is used for TLS today"),  # noqa: S505 - what is refused
        ("key", pem(ed25519.Ed25519PrivateKey.generate()), "that is not the key of .*fullchain.pem"),
    ],
    ids=["nothing", "no certificate", "no key", "a key with a password", "a short key", "another key"],
)
def test_what_cannot_be_shown_is_refused_in_one_line_that_names_the_file(
    files: Files, which: str, text: bytes, words: str
) -> None:
    getattr(files, which).write_bytes(text)
    with pytest.raises(ConfigurationError, match=words) as told:
        read_own_certificate(files.certificate, files.key, NOW)
    assert "\n" not in str(told.value)


def test_one_that_has_expired_or_is_not_there_or_is_no_file_is_refused(files: Files) -> None:
    with pytest.raises(ConfigurationError, match="it has expired"):
        read_own_certificate(files.certificate, files.key, NOW + 91 * DAY)
    files.key.unlink()
    with pytest.raises(ConfigurationError, match=r"tls_key = .*: it cannot be read: No such file"):
        read_own_certificate(files.certificate, files.key, NOW)
    os.mkfifo(files.key)
    with pytest.raises(ConfigurationError, match=r"tls_key = .*: it is no file"):
        read_own_certificate(files.certificate, files.key, NOW)


def test_files_are_read_again_when_they_change_and_only_then(files: Files) -> None:
    there = OwnFiles.load(files.certificate, files.key)
    before = there.current
    assert not there.look(NOW)
    files.renew(80 * DAY)
    assert there.look(NOW)
    assert there.current != before
    assert not there.look(NOW)
    assert there.problems(NOW) == ()


def test_broken_files_leave_what_was_there_and_are_a_problem_until_they_are_mended(files: Files) -> None:
    there = OwnFiles.load(files.certificate, files.key)
    before, good = there.current, files.key.read_bytes()
    files.key.write_bytes(key_text(new_key()))
    assert not there.look(NOW)
    assert there.current == before
    (problem,) = there.problems(NOW)
    assert problem.endswith("the certificate that was there before is shown")
    files.key.write_bytes(good)
    assert not there.look(NOW), "it is the one that is shown"
    assert there.problems(NOW) == ()


@pytest.mark.parametrize("first", ["certificate", "key"])
def test_however_far_the_new_files_are_written_the_old_one_is_shown_or_the_new_one_whole(
    files: Files, first: str
) -> None:
    """They are written by somebody else, in place, one after the other, and looked at in between."""
    there = OwnFiles.load(files.certificate, files.key)
    before = there.current
    files.renew(80 * DAY)
    texts = {path: path.read_bytes() for path in (files.certificate, files.key)}
    after = read_own_certificate(files.certificate, files.key, NOW)
    files.key.write_bytes(b"")
    files.certificate.write_bytes(b"")
    for path in sorted(texts, key=lambda one: one != getattr(files, first)):
        text = texts[path]
        for length in (*range(0, len(text), 7), len(text)):
            if text[:length].endswith(b"E-----\n") and length < len(text):
                continue  # it could be all
            path.write_bytes(text[:length])
            there.look(NOW)
            assert (there.current, there.problems(NOW)) == (after, ()) or (
                there.current == before and "the certificate that was there before is shown" in there.problems(NOW)[0]
            )
    assert there.current == after


def test_files_may_be_links_as_certbot_makes_them(files: Files, tmp_path: Path) -> None:
    (tmp_path / "live").mkdir()
    for path in (files.certificate, files.key):
        (tmp_path / "live" / path.name).symlink_to(f"../{path.name}")
    live = tmp_path / "live" / files.certificate.name, tmp_path / "live" / files.key.name
    assert read_own_certificate(*live, NOW) == read_own_certificate(files.certificate, files.key, NOW)


def test_a_file_that_is_too_long_is_refused_and_not_read_in_part(files: Files) -> None:
    files.certificate.write_bytes(files.certificate.read_bytes() * (PEM_LIMIT // 1_000))
    with pytest.raises(ConfigurationError, match="more than 64 KiB"):
        read_own_certificate(files.certificate, files.key, NOW)


def test_a_link_that_leads_elsewhere_is_a_change(files: Files, tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        Files(tmp_path / str(number))
    live = tmp_path / "live"
    live.symlink_to("1")
    there = OwnFiles.load(live / "fullchain.pem", live / "privkey.pem")
    live.unlink()
    live.symlink_to("2")
    assert there.look(NOW)


def test_a_new_one_that_has_expired_already_leaves_what_was_there(files: Files) -> None:
    there = OwnFiles.load(files.certificate, files.key)
    before = there.current
    files.renew(DAY)
    assert not there.look(NOW + 2 * DAY)
    assert there.current == before
    assert "it has expired; the certificate that was there before is shown" in there.problems(NOW + 2 * DAY)[0]


def test_one_that_ends_soon_is_a_problem(files: Files) -> None:
    there = OwnFiles.load(files.certificate, files.key)
    assert there.problems(NOW + 82 * DAY) == ()
    assert "expires in 3 days, put a new one there" in there.problems(NOW + 87.5 * DAY)[0]
    assert "has expired" in there.problems(NOW + 90 * DAY)[0]
