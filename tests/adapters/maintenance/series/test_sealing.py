"""The configuration goes into an archive that the operator's key opens, and no other."""

import io
import os
import tarfile
from pathlib import Path

import pyrage
import pytest

from buildtool.adapters.maintenance.series import sealing
from buildtool.adapters.maintenance.series.sealing import Gathered, gather, recipients_of, sealed
from buildtool.errors import UsageError


def configuration(tmp_path: Path) -> Path:
    """Make a directory with a configuration and things beside it."""
    place = tmp_path / "etc"
    for name in ("config.py", "secrets/mail", ".git/config", "__pycache__/config.pyc", "state/buildtool.sqlite"):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"this is {name}")
    (tmp_path / "elsewhere").write_text("of another place")
    (place / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "shared").mkdir()
    (place / "recipes").symlink_to(tmp_path / "shared")
    (place / "broken").symlink_to(tmp_path / "nowhere")
    os.mkfifo(place / "fifo")
    (place / "secrets/mail").chmod(0o600)
    return place


def contents(data: bytes) -> dict[str, tuple[str, int]]:
    """What is in an archive: text and mode by name."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {}
        for one in archive.getmembers():
            file = archive.extractfile(one)
            assert file is not None
            found[one.name] = (file.read().decode(), one.mode)
        return found


def test_an_archive_has_what_lies_beside_the_configuration_under_its_whole_path(tmp_path: Path) -> None:
    place = configuration(tmp_path)
    gathered = gather([place, place / "config.py", tmp_path / "absent"], [place / "state"])
    there = contents(gathered.data)
    inside = {name.removeprefix(f"{place}/".lstrip("/")): text for name, (text, _) in there.items()}
    assert inside == {
        "config.py": "this is config.py", "secrets/mail": "this is secrets/mail", "linked": "of another place",
    }  # fmt: skip
    assert there[f"{place}/secrets/mail".lstrip("/")][1] == 0o600
    assert gathered.files == 3
    assert gathered.left_out == (
        f"{place}/recipes: it is a link to a directory", f"{place}/broken: No such file or directory",
    )  # fmt: skip


def test_what_is_put_back_is_its_owners_again(tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text("x")
    with tarfile.open(fileobj=io.BytesIO(gather([tmp_path]).data)) as archive:
        one = archive.getmember(f"{tmp_path}/config.py".lstrip("/"))
    found = (tmp_path / "config.py").stat()
    assert (one.uid, one.gid, one.uname, one.gname) == (
        found.st_uid, found.st_gid, (tmp_path / "config.py").owner(), (tmp_path / "config.py").group(),
    )  # fmt: skip


def test_what_is_too_much_for_a_configuration_is_refused_with_the_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = configuration(tmp_path)
    for name, most in (("MOST_BYTES", 20), ("MOST_FILES", 2)):
        with monkeypatch.context() as patch:
            patch.setattr(sealing, name, most)
            with pytest.raises(UsageError, match="directory of its own"):
                gather([place])


def test_the_key_opens_what_was_encrypted_to_it_and_another_does_not(tmp_path: Path) -> None:
    mine, second, other = (pyrage.x25519.Identity.generate() for _ in range(3))
    (tmp_path / "keys").write_text(f"# of the operators\n{mine.to_public()}\n\n{second.to_public()}\n")
    closed = sealed(Gathered(b"secret", 1), recipients_of(str(tmp_path / "keys")))
    assert b"secret" not in closed
    assert closed.startswith(b"age-encryption.org/v1\n")
    assert pyrage.decrypt(closed, [mine]) == pyrage.decrypt(closed, [second]) == b"secret"
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(closed, [other])
    assert pyrage.decrypt(sealed(Gathered(b"x", 1), recipients_of(str(other.to_public()))), [other]) == b"x"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("AGE-SECRET-KEY-1ABC", "this is a secret one"),
        ("age1abc", "'age1abc' is no key"),
        ("ssh-ed25519 x", "is no key"),
        (
            "nowhere.txt",
            r"is no key and no file with keys \(No such file or directory\): a public key begins with age1",
        ),
    ],
)
def test_what_is_no_key_is_refused_with_what_would_be_one(said: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as raised:
        recipients_of(said)
    assert "SECRET-KEY" not in str(raised.value)


@pytest.mark.parametrize("text", [b"", b"# nothing\n", b"age1x\n" * 21, b"x" * 70_000, b"\xff", b"AGE-SECRET-KEY-1\n"])
def test_a_file_without_usable_keys_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "keys").write_bytes(text)
    with pytest.raises(UsageError, match=r"--encrypt-to .*keys") as raised:
        recipients_of(str(tmp_path / "keys"))
    assert "SECRET-KEY" not in str(raised.value)
