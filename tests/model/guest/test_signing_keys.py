"""Which keys a file has by which a configuration must be signed; what is no such key is one line with its number."""

import base64
import hashlib
from datetime import UTC

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from buildtool.errors import ConfigurationError
from buildtool.model.guest.signing_keys import MOST_KEYS, SigningKey, allowed_signers, read_signing_keys


def blob(kind: str, *parts: bytes) -> str:
    whole = b"".join(len(one).to_bytes(4, "big") + one for one in (kind.encode(), *parts))
    return base64.b64encode(whole).decode()


ED = blob("ssh-ed25519", bytes(range(32)))
OTHER = blob("ssh-ed25519", bytes(32))


def read(text: str) -> tuple[SigningKey, ...]:
    return read_signing_keys(text, UTC)


def test_a_file_of_public_keys_and_one_of_allowed_signers_mean_the_same() -> None:
    (plain,) = read(f"# mine\n\nssh-ed25519 {ED} anna@attic\n")
    (signer,) = read(f'anna@attic namespaces="git,file" ssh-ed25519 {ED} a comment\n')
    assert plain == signer == SigningKey("anna@attic", "ssh-ed25519", ED)
    digest = base64.b64encode(hashlib.sha256(base64.b64decode(ED)).digest()).decode().rstrip("=")
    assert plain.fingerprint == f"SHA256:{digest}"


def test_a_pattern_that_matches_everybody_stands_for_its_own_key_alone() -> None:
    keys = read(f'* ssh-ed25519 {ED}\n"anna, bea" ssh-ed25519 {OTHER}\n')
    assert allowed_signers(keys).splitlines() == [
        f'key-0 namespaces="git" ssh-ed25519 {ED}',
        f'key-1 namespaces="git" ssh-ed25519 {OTHER}',
    ]


def test_a_key_counts_between_its_times() -> None:
    (key,) = read(f'anna valid-after="20270101",valid-before="202702010000Z" ssh-ed25519 {ED}')
    january, february = 1_798_761_600.0, 1_801_440_000.0
    assert [key.holds(now) for now in (january - 1, january, february - 1, february)] == [False, True, True, False]
    assert read(f"anna ssh-ed25519 {ED}")[0].holds(0.0)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "that is a private key"),
        ("anna", "it is no key"),
        (f"ssh-dss {ED}", "ssh-dss is no kind of key that is taken"),
        ("ssh-ed25519 AAAA", "the key is not whole"),
        (f"ssh-ed25519 {ED[:-8]}", "the key is not whole"),
        (f"ssh-ed25519 {ED}*", "the key is not whole"),
        (f"ecdsa-sha2-nistp256 {ED}", "the key is none of ecdsa-sha2-nistp256"),
        (f"ssh-rsa {blob('ssh-rsa', b'123', b'0' * 128)}", "an RSA key has at least 2048 bits"),
        (f"anna cert-authority ssh-ed25519 {ED}", "an authority that makes certificates is not taken"),
        (f'anna namespaces="file" ssh-ed25519 {ED}', "the key is not for commits"),
        (f'anna valid-before="soon" ssh-ed25519 {ED}', "soon is no time"),
        (f'anna valid-before="20271301" ssh-ed25519 {ED}', "20271301 is no time"),
        (f"anna no-touch-required ssh-ed25519 {ED}", "no-touch-required is no option"),
        (f'anna valid-before="20270101 ssh-ed25519 {ED}', "it is no key"),
    ],
)
def test_what_is_no_key_is_told_with_its_line(line: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^line 2: ") as told:
        read(f"# first\n{line}\n")
    assert why in str(told.value)


def test_a_file_without_keys_or_with_too_many_is_none() -> None:
    with pytest.raises(ConfigurationError, match="there is no key in it"):
        read("# nothing\n")
    with pytest.raises(ConfigurationError, match=f"more than {MOST_KEYS} keys"):
        read(f"ssh-ed25519 {ED}\n" * (MOST_KEYS + 1))


@given(st.text(max_size=200), st.integers(0, 200))
@example('"', 0)
def test_whatever_stands_in_a_file_is_keys_or_one_line_that_says_why_not(text: str, cut: int) -> None:
    """What goes to ssh-keygen is only ever what was understood, one line for each key."""
    line = f'anna namespaces="git" ssh-ed25519 {ED}'
    for said in (text, f"{line[:cut]}{text}{line[cut:]}"):
        try:
            keys = read(said)
        except ConfigurationError as error:
            told = str(error)
            assert "\n" not in told
            continue
        written = allowed_signers(keys)
        assert written.isascii()
        assert written.count("\n") == len(keys)
        assert [one.blob for one in read(written)] == [one.blob for one in keys]
