"""Only a commit that is itself signed by a key of the file counts, by real git and ssh-keygen; and what others try."""

import os
import shutil
import subprocess
from datetime import UTC
from pathlib import Path

import pytest

from buildtool.adapters.vcs.followed.repository import TIP
from buildtool.adapters.vcs.followed.signatures import CommitSignature, check_can_verify, verify_commit, verify_tag
from buildtool.adapters.vcs.followed.tags import list_tags
from buildtool.errors import ConfigurationError, GitMissing
from buildtool.model.guest.following import SignatureVerdict
from buildtool.model.guest.signing_keys import read_signing_keys
from tests.adapters.vcs.followed.conftest import Followed
from tests.support.packages import require

pytestmark = pytest.mark.world


def test_a_commit_signed_by_the_owners_key_counts_and_the_key_is_named(followed: Followed) -> None:
    followed.origin.push(followed.owner, config__py="")
    found = followed.verified()
    assert found.verdict is SignatureVerdict.TRUSTED
    assert found.signer == f"owner ({followed.keys[0].fingerprint})"


def test_a_commit_that_is_not_signed_does_not_count_whatever_came_before(followed: Followed) -> None:
    followed.origin.push(followed.owner, config__py="")
    followed.origin.push(None, config__py="x = 1")
    assert followed.verified().verdict is SignatureVerdict.UNSIGNED


def test_a_commit_signed_by_another_key_does_not_count_and_says_which(followed: Followed, keys: Path) -> None:
    followed.origin.push(followed.other, config__py="")
    found = followed.verified()
    (other,) = read_signing_keys((keys / "other.pub").read_text(), UTC)
    assert (found.verdict, found.signer) == (SignatureVerdict.UNKNOWN, other.fingerprint)


def test_a_signed_tag_does_not_make_its_commit_signed(followed: Followed) -> None:
    followed.origin.push(None, config__py="")
    signing = ["-c", "gpg.format=ssh", "-c", f"user.signingKey={followed.owner}"]
    followed.origin.git(*signing, "tag", "-s", "-m", "a tag", "v1")
    assert followed.verified().verdict is SignatureVerdict.UNSIGNED
    # A branch that is at the tag itself, which only a hostile server has, leads to the same commit.
    tag = followed.origin.git("rev-parse", "v1")
    (followed.origin.path / ".git" / "refs" / "heads" / "main").write_text(f"{tag}\n")
    assert followed.verified().verdict is SignatureVerdict.UNSIGNED


def test_a_signature_moved_to_another_commit_is_not_right(followed: Followed) -> None:
    """The signature of a commit stands in it: with other files beside it, it is none of that commit."""
    commit = followed.origin.push(followed.owner, config__py="")
    whole = followed.origin.git("cat-file", "commit", commit)
    followed.origin.push(followed.other, config__py="harm")
    tree = followed.origin.git("rev-parse", "HEAD^{tree}")
    forged = followed.origin.path / "forged"
    forged.write_text(whole.replace(whole.split()[1], tree, 1) + "\n")
    made = followed.origin.git("hash-object", "-t", "commit", "-w", str(forged))
    followed.origin.git("update-ref", "refs/heads/main", made)
    assert followed.verified().verdict in (SignatureVerdict.BROKEN, SignatureVerdict.UNKNOWN)


def test_a_merge_of_unsigned_work_counts_when_it_is_signed_itself(followed: Followed) -> None:
    """Whoever signs a commit signs all the files that it has: how they came there is theirs to judge."""
    followed.origin.push(followed.owner, config__py="")
    followed.origin.git("checkout", "-q", "-b", "work")
    followed.origin.push(None, more="theirs")
    followed.origin.git("checkout", "-q", "main")
    followed.origin.push(None, mine="mine")
    merge = ("merge", "-q", "--no-ff", "-m", "merge", "work")
    followed.origin.signed(followed.owner, *merge, "-S")
    assert followed.verified().verdict is SignatureVerdict.TRUSTED


def test_a_signature_for_something_else_than_commits_does_not_count(followed: Followed, tmp_path: Path) -> None:
    """What the owner signed as a file, in a namespace of files, is no signature of a commit with that text."""
    commit = followed.origin.push(None, config__py="")
    text = followed.origin.git("cat-file", "commit", commit) + "\n"
    (tmp_path / "text").write_text(text)
    sign = ["ssh-keygen", "-q", "-Y", "sign", "-n", "file", "-f", str(followed.owner), str(tmp_path / "text")]
    subprocess.run(sign, check=True, capture_output=True)
    signature = (tmp_path / "text.sig").read_text().strip().replace("\n", "\n ")
    head, body = text.split("\n\n", 1)
    (tmp_path / "forged").write_text(f"{head}\ngpgsig {signature}\n\n{body}")
    made = followed.origin.git("hash-object", "-t", "commit", "-w", str(tmp_path / "forged"))
    followed.origin.git("update-ref", "refs/heads/main", made)
    assert followed.verified().verdict is not SignatureVerdict.TRUSTED


def test_keys_that_the_account_has_elsewhere_do_not_count(
    followed: Followed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git would take any OpenPGP key of the account's own for good."""
    require("gpg", "gpg gpg-agent")
    home = tmp_path / "h"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(home))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".gnupg").symlink_to(home)
    gpg = ["gpg", "--batch", "--quiet", "--homedir", str(home)]
    make = [*gpg, "--passphrase", "", "--quick-generate-key", "a@example.org", "ed25519", "sign"]
    try:
        subprocess.run(make, check=True, capture_output=True)
        program = tmp_path / "gpg"
        program.write_text(f'#!/bin/sh\nexec gpg --homedir {home} "$@"\n')
        program.chmod(0o700)
        (followed.origin.path / "config.py").write_text("")
        followed.origin.git("add", "--all")
        followed.origin.git(
            "-c", f"gpg.program={program}", "-c", "user.signingKey=a@example.org", "commit", "-q", "-S", "-m", "by gpg"
        )
        followed.origin.git("-c", f"gpg.program={program}", "verify-commit", "HEAD")
        found = followed.verified()
        assert (found.verdict, found.signer) == (SignatureVerdict.UNKNOWN, "what is no key of SSH")
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, capture_output=True)


def test_the_files_of_the_machine_say_nothing_about_who_is_believed(
    followed: Followed, tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is allowed by the account's own git, or by a repository's settings, is not by the build server."""
    everybody = tmp_path / "everybody"
    everybody.write_text(f"* {(keys / 'other.pub').read_text()}")
    (tmp_path / ".gitconfig").write_text(f'[gpg]\nformat = ssh\n[gpg "ssh"]\nallowedSignersFile = {everybody}\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / ".gitconfig"))
    followed.origin.git("config", "gpg.ssh.allowedSignersFile", str(everybody))
    followed.origin.push(followed.other, config__py="")
    assert followed.verified().verdict is SignatureVerdict.UNKNOWN


def test_a_key_that_was_taken_out_of_the_file_does_not_count_any_more(followed: Followed, keys: Path) -> None:
    followed.origin.push(followed.owner, config__py="")
    assert followed.verified().verdict is SignatureVerdict.TRUSTED
    followed.keys = read_signing_keys((keys / "other.pub").read_text(), UTC)
    assert followed.verified().verdict is SignatureVerdict.UNKNOWN
    followed.keys = ()
    assert followed.verified().verdict is not SignatureVerdict.TRUSTED


def test_a_commit_that_is_not_there_is_not_signed(followed: Followed) -> None:
    followed.origin.push(followed.owner, config__py="")
    followed.repository.fetch()
    found = verify_commit(followed.git, followed.repository.path, "0" * 40, followed.keys)
    assert found.verdict is SignatureVerdict.BROKEN


def test_a_machine_without_the_program_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "git").symlink_to(shutil.which("git") or "")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="apt-get install openssh-client"):
        check_can_verify()
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(GitMissing, match="install git"):
        check_can_verify()


def tagged(followed: Followed, name: str, key: Path | None) -> None:
    """Tag the newest commit, and sign that by a key, or by none."""
    signing = [] if key is None else ["-c", "gpg.format=ssh", "-c", f"user.signingKey={key}"]
    followed.origin.git(*signing, "tag", "-a" if key is None else "-s", "-m", "a tag", name)


def verified_tag(followed: Followed, name: str) -> CommitSignature:
    """What is found of a tag."""
    followed.repository.fetch(name)
    return verify_tag(followed.git, followed.repository.path, TIP, name, followed.keys)


def test_a_tag_signed_by_the_owners_key_counts_and_no_other(followed: Followed, keys: Path) -> None:
    commit = followed.origin.push(None, config__py="")
    tagged(followed, "v1", followed.owner)
    tagged(followed, "v2", followed.other)
    tagged(followed, "v3", None)
    followed.origin.git("tag", "v4")
    assert set(list_tags(followed.repository)) == {"v1", "v2", "v3", "v4"}
    assert followed.repository.fetch("v1") == commit
    found = verified_tag(followed, "v1")
    assert (found.verdict, found.signer) == (SignatureVerdict.TRUSTED, f"owner ({followed.keys[0].fingerprint})")
    (other,) = read_signing_keys((keys / "other.pub").read_text(), UTC)
    found = verified_tag(followed, "v2")
    assert (found.verdict, found.signer) == (SignatureVerdict.UNKNOWN, other.fingerprint)
    assert verified_tag(followed, "v3").verdict is SignatureVerdict.UNSIGNED
    assert verified_tag(followed, "v4").verdict is SignatureVerdict.UNSIGNED


def test_an_older_tag_under_a_newer_name_and_one_whose_text_was_changed_are_not_right(followed: Followed) -> None:
    followed.origin.push(None, config__py="")
    tagged(followed, "v1", followed.owner)
    followed.origin.git("update-ref", "refs/tags/v9", "refs/tags/v1")
    assert verified_tag(followed, "v9").verdict is SignatureVerdict.BROKEN
    whole = followed.origin.git("cat-file", "tag", "v1")
    followed.origin.push(None, config__py="harm")
    forged = followed.origin.path / "forged"
    forged.write_text(whole.replace(whole.split()[1], followed.origin.git("rev-parse", "HEAD"), 1) + "\n")
    made = followed.origin.git("hash-object", "-t", "tag", "-w", str(forged))
    followed.origin.git("update-ref", "refs/tags/v1", made)
    assert verified_tag(followed, "v1").verdict in (SignatureVerdict.BROKEN, SignatureVerdict.UNKNOWN)


def test_a_tag_of_a_tag_is_no_version(followed: Followed) -> None:
    followed.origin.push(None, config__py="")
    tagged(followed, "v1", followed.other)
    signing = ["-c", "gpg.format=ssh", "-c", f"user.signingKey={followed.owner}"]
    followed.origin.git(*signing, "tag", "-s", "-m", "a tag", "v2", "v1")
    assert verified_tag(followed, "v2").verdict is SignatureVerdict.BROKEN
