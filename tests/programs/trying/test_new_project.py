"""A configuration is written from a look at sources; it is accepted, and the sources are built by it."""

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from buildtool.programs.metaserver.main import main as metaserver
from tests.support.packages import require
from tests.support.trying import ROOT, tried

pytestmark = pytest.mark.world

NPM = {
    "package.json": '{"name": "ink", "version": "1.2.3", "files": ["out.txt"],'
    ' "scripts": {"build": "cp in.txt out.txt"}}',
    "in.txt": "drawn\n",
}

AUTOCONF = {
    "configure.ac": """\
AC_INIT([tally], [1.0])
AM_INIT_AUTOMAKE([foreign])
AC_PROG_CC
AC_ARG_ENABLE([loud], [AS_HELP_STRING([--enable-loud], [speak up])], [], [enable_loud=no])
AC_ARG_ENABLE([check], [AS_HELP_STRING([--disable-check], [count without looking])], [], [enable_check=yes])
AS_IF([test "$enable_loud" = yes], [LOUD=1000], [LOUD=1])
AC_DEFINE_UNQUOTED([LOUD], [$LOUD], [How loud it is.])
AS_IF([test "$enable_check" = yes], [AC_DEFINE([CHECK], [1], [Whether to look.])])
AC_CONFIG_HEADERS([config.h])
AC_CONFIG_FILES([Makefile])
AC_OUTPUT
""",
    "Makefile.am": "bin_PROGRAMS = tally\ntally_SOURCES = tally.c\ndist_man_MANS = tally.1\n",
    # assert() has the name of the file in the program, as the compiler was told it.
    "tally.c": """\
#include <config.h>
#include <assert.h>
#include <stdio.h>
int main(int count, char **words)
{
    assert(words);
#ifdef CHECK
    printf("looked at ");
#endif
    printf("%d\\n", count * LOUD);
    return 0;
}
""",
    "tally.1": ".TH tally 1\n",
}


def begun(place: Path, source: Path) -> Path:
    """Write a configuration for sources, have it checked, and return its path."""
    code, out, err = tried("new-project", place / "farm", "--source", source, builds=place / "builds")
    assert (code, err) == (0, "")
    path = place / "farm" / "config.py"
    assert out.startswith(f"wrote {path}, which is yours to edit\nproject    ")
    assert metaserver(["check-config", "--config", str(path)]) == 0
    return path


def test_what_is_written_for_a_makefile_builds_it(tmp_path: Path) -> None:
    for program in ("gcc", "make"):
        require(program, program)
    source = tmp_path / "tally"
    shutil.copytree(ROOT / "testproject" / "source", source)
    config = begun(tmp_path, source)
    code, out, _ = tried("--try", "tally", "--config", config, "--optimize", "0", cwd=source, builds=tmp_path / "b")
    assert code == 0, out
    assert " tally" in out.split("artifact ")[-1]


@pytest.mark.long
@pytest.mark.parametrize("released", [False, True], ids=["from a repository", "as it is released"])
def test_what_is_written_for_autoconf_builds_it_twice_to_the_same_bytes(tmp_path: Path, released: bool) -> None:
    for program, package in (("gcc", "gcc"), ("make", "make"), ("autoreconf", "autoconf"), ("automake", "automake")):
        require(program, package)
    source = tmp_path / "sources"
    source.mkdir()
    for name, text in AUTOCONF.items():
        (source / name).write_text(text)
    if released:  # with a configure, which not every archive leaves executable
        subprocess.run(["autoreconf", "-fi"], cwd=source, check=True, capture_output=True)
        (source / "configure").chmod(0o644)
        shutil.rmtree(source / "autom4te.cache")
    config = begun(tmp_path, source)
    words = ["--try", "tally", "--loud", "--json"]
    code, out, err = tried(*words, "--config", config, "--source", source, builds=tmp_path / "b")
    assert code == 0, err + out
    answer = json.loads(out)
    assert answer["options"] == {"check": True, "loud": True, "optimize": "2"}
    assert answer["same"]
    artifact = answer["runs"][0]["artifact"]
    assert [one["name"] for one in artifact["members"]] == ["out/bin/tally", "out/share/man/man1/tally.1"]
    with zipfile.ZipFile(artifact["path"]) as archive:
        tally = Path(archive.extract("out/bin/tally", tmp_path))
    tally.chmod(0o755)
    assert subprocess.run([tally], capture_output=True, text=True, check=True).stdout == "looked at 1000\n"


@pytest.mark.long
def test_what_is_written_for_npm_builds_it_where_that_is_installed(tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed: with what it needs it is 300 packages of Debian's, too many to ask for")
    source = tmp_path / "ink"
    source.mkdir()
    for name, text in NPM.items():
        (source / name).write_text(text)
    config = begun(tmp_path, source)
    code, out, _ = tried("--try", "ink", "--config", config, "--source", source, builds=tmp_path / "b")
    assert code == 0, out
    assert " out/ink-1.2.3.tgz" in out


def test_sources_in_the_directory_itself_are_looked_at_and_no_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module example.org/tool\n")
    (tmp_path / "main.go").write_text("package main\n")
    code, out, _ = tried("--new-project", tmp_path, "--json", builds=tmp_path / "b")
    assert code == 0, out
    told = {"path": f"{tmp_path}/config.py", "project": "tool", "system": "go", "options": [], "source": str(tmp_path)}
    assert json.loads(out) == told
    before = (tmp_path / "config.py").read_text()
    code, _, err = tried("--new-project", tmp_path, builds=tmp_path / "b")
    assert (code, err) == (
        2,
        f"buildserver.py: there is a {tmp_path}/config.py already: say another directory, and --source {tmp_path}\n",
    )
    assert (tmp_path / "config.py").read_text() == before


def test_what_cannot_be_known_is_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, out, err = tried("new-project", tmp_path / "farm", "--source", tmp_path / "empty", builds=tmp_path / "b")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "nothing there tells how it is built" in err
    code, _, err = tried("new-project", tmp_path / "farm", "--source", tmp_path / "none", builds=tmp_path / "b")
    assert (code, err) == (2, f"buildserver.py: --source {tmp_path}/none is no directory\n")
    assert not (tmp_path / "farm").exists()


def test_a_path_that_no_configuration_can_name_is_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    source = tmp_path / os.fsdecode(b"tally\xff")
    source.mkdir()
    (source / "Makefile").write_text("all:\n")
    code, out, err = tried("new-project", tmp_path / "farm", "--source", source, builds=tmp_path / "b")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "cannot stand in a configuration" in err
    assert not (tmp_path / "farm").exists()
