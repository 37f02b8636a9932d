"""What an owner says of the repository that they follow, and of the keys: what is wrong is one line."""

import argparse
import base64
import os
from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from buildtool.errors import ConfigurationError, UsageError
from buildtool.programs.buildserver.following.choice import (
    FollowChoice,
    applying,
    choice_of,
    followed_url,
    key_files,
)

PARTS = (b"ssh-ed25519", bytes(32))
KEY = base64.b64encode(b"".join(len(one).to_bytes(4, "big") + one for one in PARTS)).decode()


def said(url: str | None, *files: str, how: str = "by-itself") -> FollowChoice | None:
    return choice_of(
        argparse.Namespace(follow_config=url, signed_by=tuple(map(Path, files)), apply_config=how, follow_every=2)
    )


def test_a_url_may_name_a_branch_and_minutes_are_seconds() -> None:
    found = said("https://x.example/y.git#a/b", "/k", how="ask")
    assert found == FollowChoice("https://x.example/y.git", "a/b", (Path("/k"),), True, 120.0)
    plain = said("https://x.example/y.git", "/k")
    assert plain is not None
    assert (plain.url, plain.branch, plain.asks) == ("https://x.example/y.git", "", False)
    assert said(None) is None
    assert plain.source != found.source


def test_a_repository_without_a_key_or_a_key_without_a_repository_is_refused() -> None:
    with pytest.raises(UsageError, match="what is not signed by one is never run"):
        said("https://x.example/y.git")
    with pytest.raises(UsageError, match="--signed-by goes with --follow-config"):
        said(None, "/k")


@pytest.mark.parametrize(
    "text", ["", "x", "ext::sh -c touch% /x", "https://x/y#", "https://x/y#a..b", "https://x/y#-a"]
)
def test_what_is_no_repository_or_branch_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="say URL or URL#BRANCH"):
        followed_url(text)


def test_other_values_are_refused_in_a_line() -> None:
    with pytest.raises(ArgumentTypeError, match="'never' is neither by-itself nor ask"):
        applying("never")
    with pytest.raises(ArgumentTypeError, match="at most 16 files"):
        key_files("a,,b")
    assert key_files("a, b") == (Path("a"), Path("b"))


def test_a_file_of_keys_that_others_may_change_or_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    choice = said("https://x.example/y.git", str(path))
    assert choice is not None

    def wrong() -> str:
        with pytest.raises(ConfigurationError) as told:
            choice.read_keys()
        assert "\n" not in str(told.value)
        return str(told.value)

    assert wrong() == f"--signed-by: {path} cannot be read: No such file or directory"
    path.write_text(f"ssh-ed25519 {KEY} anna\n")
    path.chmod(0o620)
    assert wrong() == f"--signed-by: others may change {path}: chmod go-w {path}"
    path.chmod(0o600)
    assert [one.name for one in choice.read_keys()] == ["anna"]
    path.write_text("garbage\n")
    assert wrong().startswith(f"--signed-by: {path}: line 1: it is no key")
    path.write_bytes(b"\xff\xfe")
    assert wrong() == f"--signed-by: {path} is no text with keys"
    path.write_text("-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
    assert "keys of SSH are taken" in wrong()
    path.write_text("#" * 70_000)
    assert "is no file of at most 64 KiB" in wrong()
    path.unlink()
    os.mkfifo(path, 0o600)
    assert "is no file" in wrong()


def test_a_home_that_nobody_has_is_named_with_the_option() -> None:
    with pytest.raises(ConfigurationError, match=r"--signed-by: ~nobody-at-all/k begins with ~, but no home"):
        key_files("a, ~nobody-at-all/k")


def test_a_file_beside_a_directory_that_went_is_named_with_the_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    monkeypatch.chdir(there)
    there.rmdir()
    with pytest.raises(ConfigurationError, match=r"this file is \(--signed-by\), is not there any more"):
        said("https://x.example/y.git", "k")
