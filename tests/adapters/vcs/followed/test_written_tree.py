"""The files of a commit are written as they were signed; links, submodules and names that lead away are not taken."""

import stat
from pathlib import Path

import pytest

from buildtool.adapters.vcs.followed import written_tree
from buildtool.adapters.vcs.followed.written_tree import write_tree
from buildtool.errors import ConfigurationError
from tests.adapters.vcs.followed.conftest import Followed

pytestmark = pytest.mark.world


def written(followed: Followed, place: Path) -> Path:
    return write_tree(followed.git, followed.repository.path, followed.repository.fetch(), place)


def test_files_are_written_byte_for_byte_and_for_their_owner_alone(followed: Followed, tmp_path: Path) -> None:
    below = followed.origin.path / "project"
    below.mkdir()
    (below / "recipe.py").write_bytes(b"a\r\nb\n\0")
    (below / "run").write_text("#!/bin/sh\n# $Id$\n")
    (below / "run").chmod(0o755)
    followed.origin.push(None, config__py="", __gitattributes="run text eol=crlf ident export-subst\n")
    place = tmp_path / "tree"
    place.mkdir()
    (place / "old").write_text("of before")
    assert written(followed, place) == place / "config.py"
    assert (place / "project" / "recipe.py").read_bytes() == b"a\r\nb\n\0"
    assert (place / "project" / "run").read_text() == "#!/bin/sh\n# $Id$\n"
    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in place.rglob("*")}
    assert modes == {"config.py": 0o600, ".gitattributes": 0o600, "project": 0o700, "recipe.py": 0o600, "run": 0o700}


def test_a_link_is_not_taken_wherever_it_leads(followed: Followed, tmp_path: Path) -> None:
    (followed.origin.path / "config.py").symlink_to("/etc/passwd")
    followed.origin.push(None)
    with pytest.raises(ConfigurationError, match=r"config\.py is a link: put the file itself there"):
        written(followed, tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_a_submodule_is_not_taken(followed: Followed, tmp_path: Path) -> None:
    commit = followed.origin.push(None, config__py="")
    followed.origin.git("update-index", "--add", "--cacheinfo", f"160000,{commit},sub")
    followed.origin.signed(None, "commit", "-q", "-m", "a submodule")
    with pytest.raises(ConfigurationError, match="sub is a submodule"):
        written(followed, tmp_path / "tree")


@pytest.mark.parametrize("name", ["a\\b", "a\nb", "a\u202eb"])
def test_a_name_that_shows_or_means_something_else_is_not_taken(followed: Followed, tmp_path: Path, name: str) -> None:
    (followed.origin.path / name).write_text("")
    followed.origin.push(None, config__py="")
    with pytest.raises(ConfigurationError, match="is no name for a file here"):
        written(followed, tmp_path / "tree")


def test_a_tree_that_leads_out_of_itself_does_not_even_come(followed: Followed, tmp_path: Path) -> None:
    """Git lets nobody make one by its commands; an attacker writes it by hand."""
    commit = followed.origin.push(None, config__py="")
    blob = followed.origin.git("rev-parse", f"{commit}:config.py")
    entries = b"".join(b"100644 %s\0%s" % (name, bytes.fromhex(blob)) for name in (b"../harm", b"config.py"))
    (tmp_path / "raw").write_bytes(entries)
    tree = followed.origin.git("hash-object", "-t", "tree", "-w", "--literally", str(tmp_path / "raw"))
    made = followed.origin.git("commit-tree", "-m", "harm", tree)
    followed.origin.git("update-ref", "refs/heads/main", made)
    with pytest.raises(Exception, match=r"fullPathname|full pathnames|cannot read"):
        written(followed, tmp_path / "tree")
    assert not (tmp_path / "harm").exists()


def test_a_tree_without_a_configuration_or_with_too_much_is_not_taken(
    followed: Followed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed.origin.push(None, other="")
    with pytest.raises(ConfigurationError, match=r"it has no config\.py at its top"):
        written(followed, tmp_path / "tree")
    followed.origin.push(None, config__py="x" * 100)
    monkeypatch.setattr(written_tree, "MOST_BYTES", 50)
    with pytest.raises(ConfigurationError, match="its files have more than 50 B"):
        written(followed, tmp_path / "tree")
    monkeypatch.setattr(written_tree, "MOST_FILES", 1)
    with pytest.raises(ConfigurationError, match="it has more than 1 files"):
        written(followed, tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
