"""What startcompile.py loads before it answers, and that what it leaves out is missed by nobody."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

NEVER = frozenset(
    {
        "sqlalchemy", "alembic", "klein", "jinja2", "git", "pip", "pkg_resources", "setuptools", "rich", "sqlite3",
        "OpenSSL", "cryptography", "service_identity", "idna", "asyncio", "ssl", "smtplib", "http.client", "email",
        "urllib.request", "typing_extensions", "twisted.mail", "twisted.web", "twisted.internet.ssl",
        "buildtool.adapters.sql", "buildtool.adapters.mail", "buildtool.adapters.http", "buildtool.protocol.operator",
        "buildtool.web", "buildtool.metaserver", "buildtool.scheduling", "buildtool.programs.common.joining",
        "buildtool.model.records", "buildtool.protocol.news",
    }
)  # fmt: skip
"""What nobody waits for who only asks, in plain: by name, with all that is below it."""

AT_ONCE = NEVER | {"twisted", "zope"}
"""What a command line is read without, so that help and mistakes come at once."""

_LISTED = """
import atexit, json, sys
def tell():
    names = [name for name, module in sys.modules.items() if module is not None]
    print(json.dumps(names), file=open({told!r}, "w"))
atexit.register(tell)
sys.argv = ["startcompile.py", *{words!r}]
from buildtool.programs.common import launch
sys.exit(launch.startcompile())
"""


def loaded(words: list[str], tmp_path: Path, **environment: str) -> tuple[int, set[str]]:
    """Run the program with nobody's keys, and return its exit code and the modules that it loaded."""
    told = tmp_path / "modules"
    code = _LISTED.format(told=str(told), words=words)
    mine = {
        "XDG_CONFIG_HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path),
        "BUILDTOOL_CONFIG": str(ROOT / "config.py"),
    }
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **mine, **environment},
        capture_output=True,
        timeout=60,
        check=False,
    )
    return ran.returncode, set(json.loads(told.read_text()))


def found(names: set[str], forbidden: frozenset[str]) -> set[str]:
    return {name for name in names if any(name == one or name.startswith(f"{one}.") for one in forbidden)}


@pytest.mark.parametrize(
    ("words", "code"),
    [(["--help"], 0), (["--version"], 0), (["whi"], 2), (["completion", "fish"], 0), (["__complete", "zsh", "--c"], 0)],
)
def test_a_command_line_is_read_without_twisted(words: list[str], code: int, tmp_path: Path) -> None:
    ended, names = loaded(words, tmp_path)
    assert ended == code
    assert found(names, frozenset(AT_ONCE)) == set()


def test_whoever_asks_in_plain_loads_nothing_that_an_answer_does_not_need(tmp_path: Path) -> None:
    """Nobody listens at the address, and what would be loaded for the answer is loaded by then."""
    ended, names = loaded(["cancel", "1-x", "--host", "127.0.0.1", "--port", "9"], tmp_path)
    assert ended == 7
    assert found(names, NEVER | {"buildtool.programs.startcompile.completing.candidates"}) == set()


def test_what_was_kept_from_being_loaded_can_be_loaded_afterwards() -> None:
    code = """
from buildtool.programs.startcompile.sparing import sparing
with sparing():
    import twisted.internet.reactor
import asyncio, http.cookiejar, typing_extensions, OpenSSL.SSL
assert issubclass(asyncio.Future, object) and asyncio.new_event_loop and http.cookiejar.CookieJar
assert typing_extensions.deprecated and OpenSSL.SSL.Context
from twisted.internet.defer import Deferred
import twisted.web.client, twisted.internet.ssl
async def once():
    return 3
result = []
Deferred.fromCoroutine(once()).addCallback(result.append)
assert result == [3]
"""
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60, check=False).stderr
        == b""
    )
