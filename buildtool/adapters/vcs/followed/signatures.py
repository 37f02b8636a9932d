"""Whether a commit or a tag is signed by one of some keys, as git itself finds with ssh-keygen. Everything here blocks.

What git says counts only with the fingerprint beside it: a signature that git calls good has been made by one of these
keys and no other, whatever keys the account has elsewhere.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from buildtool.adapters.vcs.followed.bounded_git import BoundedGit
from buildtool.adapters.vcs.git.command import check_git
from buildtool.errors import ConfigurationError
from buildtool.model.guest.following import SignatureVerdict
from buildtool.model.guest.signing_keys import SigningKey, allowed_signers
from buildtool.model.text import one_line

OLDEST_GIT = (2, 34)
"""The oldest git that checks signatures of SSH keys."""

LIMIT = 30.0
"""Seconds that one check may take."""

_WORDS = 200


@frozen
class CommitSignature:
    """The state of a commit's or a tag's signature, and in words by what it was made, as far as that is known."""

    verdict: SignatureVerdict
    signer: str = ""


def check_can_verify() -> None:
    """Raise ConfigurationError unless this machine can check signatures of SSH keys; GitMissing without git."""
    check_git(OLDEST_GIT)
    if shutil.which("ssh-keygen") is None:
        raise ConfigurationError(
            "signatures are checked by ssh-keygen, which is not there: apt-get install openssh-client (Debian), "
            "dnf install openssh (Fedora)"
        )


def verify_commit(git: BoundedGit, repository: Path, commit: str, keys: Sequence[SigningKey]) -> CommitSignature:
    """Return whether one of the keys has signed a commit. Raises ConfigurationError, TimedOut, MachineFault."""
    check_can_verify()
    settings = git.believing(allowed_signers(keys))
    words = ("log", "-1", "--no-show-signature", "--format=%G?%x00%GF%x00%GS", commit)
    told = git.run(words, git_dir=repository, limit=LIMIT, settings=settings)
    state, fingerprint, principal = (*told.text.split("\0"), "", "", "")[:3]
    if told.code:
        return CommitSignature(SignatureVerdict.BROKEN)
    if state == "N":
        raw = git.run(("cat-file", "commit", commit), git_dir=repository, limit=LIMIT, settings=git.settings)
        if b"\ngpgsig" not in raw.out.partition(b"\n\n")[0]:
            return CommitSignature(SignatureVerdict.UNSIGNED)
        return CommitSignature(SignatureVerdict.UNKNOWN, "what is no key of SSH")
    known = {f"key-{number}": key for number, key in enumerate(keys)}
    key = known.get(principal)
    answer = git.run(("verify-commit", commit), git_dir=repository, limit=LIMIT, settings=settings)
    if answer.code == 0 and state == "G" and key is not None and key.fingerprint == fingerprint:
        return CommitSignature(SignatureVerdict.TRUSTED, f"{key.name} ({fingerprint})")
    if state in ("G", "U") or (state == "B" and "No principal matched" in answer.err):
        return CommitSignature(SignatureVerdict.UNKNOWN, one_line(fingerprint, _WORDS))
    return CommitSignature(SignatureVerdict.BROKEN)


def verify_tag(git: BoundedGit, repository: Path, ref: str, tag: str, keys: Sequence[SigningKey]) -> CommitSignature:
    """Return whether one of the keys has signed the tag that ``ref`` leads to, under the name ``tag``.

    An older tag that is put in place of another has another name in it. Raises ConfigurationError, TimedOut,
    MachineFault.
    """
    check_can_verify()
    raw = git.run(("cat-file", "tag", ref), git_dir=repository, limit=LIMIT, settings=git.settings)
    head, _, body = raw.out.partition(b"\n\n")
    if raw.code or b"-----BEGIN " not in body:
        return CommitSignature(SignatureVerdict.UNSIGNED)
    said = dict(line.split(b" ", 1) for line in head.split(b"\n") if b" " in line)
    if said.get(b"tag") != tag.encode("utf-8", "surrogateescape") or said.get(b"type") != b"commit":
        return CommitSignature(SignatureVerdict.BROKEN)
    settings = git.believing(allowed_signers(keys))
    answer = git.run(("verify-tag", ref), git_dir=repository, limit=LIMIT, settings=settings)
    principal, fingerprint = _good(answer.err)
    key = {f"key-{number}": one for number, one in enumerate(keys)}.get(principal)
    if answer.code == 0 and key is not None and key.fingerprint == fingerprint:
        return CommitSignature(SignatureVerdict.TRUSTED, f"{key.name} ({fingerprint})")
    if fingerprint:
        return CommitSignature(SignatureVerdict.UNKNOWN, one_line(fingerprint, _WORDS))
    if b"-----BEGIN SSH SIGNATURE-----" not in body:
        return CommitSignature(SignatureVerdict.UNKNOWN, "what is no key of SSH")
    return CommitSignature(SignatureVerdict.BROKEN)


def _good(said: str) -> tuple[str, str]:
    """Return whose good signature git tells of, "" for one of no principal, and the fingerprint, "" for none at all."""
    for line in said.splitlines():
        words = line.split()
        if words[:3] == ["Good", '"git"', "signature"] and len(words) > 5 and words[-2] == "key":  # noqa: PLR2004
            return (words[4] if words[3] == "for" else ""), words[-1]
    return "", ""
