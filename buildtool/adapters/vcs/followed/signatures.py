"""Whether a commit is signed by one of some keys, as git itself finds with ssh-keygen. Everything here blocks.

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
    """The state of a commit's signature, and in words by what it was made, as far as that is known."""

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
