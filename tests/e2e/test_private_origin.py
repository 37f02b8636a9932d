"""A private origin, with real programs: the metaserver alone reads its login, and the build server has the commit."""

from collections.abc import Iterator

import pytest

from tests.e2e.control import Control
from tests.support.git_http import PrivateOrigin
from tests.support.origins import Origin, git

PRIVATE = """
from pathlib import Path
exec(compile(Path({path!r}).read_text(), {path!r}, "exec"))
origin_logins = {{{site!r}: "login"}}
"""
PASSWORD = "s3cr:t@word"


@pytest.fixture
def private(control: Control) -> Iterator[Control]:
    """A farm whose repository is behind a password, which stands in one file."""
    origin = PrivateOrigin(control.directory, f"joe:{PASSWORD}")
    path = control.directory / "private.py"
    path.write_text(PRIVATE.format(path=str(control.farm.config), site=origin.site))
    (control.directory / "login").write_text(f"joe:{PASSWORD}\n")
    (control.directory / "login").chmod(0o600)
    control.farm.config = path
    control.farm.extra |= {"E2E_REPOSITORY": f"{origin.site}greeter.git/.git"}
    yield control
    origin.close()


def test_a_build_of_a_private_origin_succeeds_and_nothing_that_is_kept_has_the_password(private: Control) -> None:
    lib, greeter = Origin(private.directory / "lib"), private.directory / "greeter.git"
    commit = lib.commit("lib.txt")
    (greeter / ".gitmodules").write_text('[submodule "lib"]\n\tpath = lib\n\turl = ../../lib/.git\n')
    git(greeter, "add", ".gitmodules")
    git(greeter, "update-index", "--add", "--cacheinfo", f"160000,{commit},lib")
    git(greeter, "commit", "-q", "-m", "with a submodule")
    private.farm.start_metaserver()
    server = private.server("anna")
    done = private.ask("anna@example.org", "--foreground")
    assert done["build_state"] == "succeeded", done
    server.wait_for(f"commit {done['revision']} of .* came from the metaserver")
    server.wait_for(f"commit {commit} of .* came from the metaserver")
    for path in (one for one in (private.directory / "farm").rglob("*") if one.is_file()):
        content = path.read_bytes()
        assert PASSWORD.encode() not in content, path
        assert b"s3cr%3At" not in content, path
