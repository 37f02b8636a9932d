"""Imports run one way, and only adapters touch the outside world; and the check that says so can fail."""

from pathlib import Path

import pytest

from tests.support.layers import violations

ROOT = Path(__file__).resolve().parent.parent

SOUND = {
    "bin/metaserver": "from buildtool.entry.metaserver import main\n",
    "buildtool/__init__.py": "",
    "buildtool/errors.py": "class BuildToolError(Exception): ...\n",
    "buildtool/domain/__init__.py": "",
    "buildtool/domain/model.py": "import re\nfrom attrs import frozen\nimport buildtool.errors\n",
    "buildtool/ports.py": "from buildtool.domain.model import frozen\n",
    "buildtool/settings.py": "import pathlib\npathlib.Path('x').read_text(); open('x')\n",
    "buildtool/wire.py": "from buildtool import ports\nfrom buildtool.domain import model\n",
    "buildtool/metaserver.py": "import os\nfrom buildtool import wire\nos.path.join('a', 'b')\n",
    "buildtool/adapters/__init__.py": "",
    "buildtool/adapters/files.py": "import os, time, uuid, sqlalchemy\nopen('x'); os.fsync(1)\n",
    "buildtool/entry/__init__.py": "",
    "buildtool/entry/metaserver.py": (
        "from twisted.internet import reactor\nfrom buildtool import web\n"
        "from buildtool.adapters import files\nfrom buildtool.metaserver import os\n"
    ),
    "web/__init__.py": "from buildtool import __version__\n",
    "web/urls.py": "import urllib.parse\n",
    "web/pages/__init__.py": "",
    "web/pages/builds.py": "from .. import urls\nfrom ..urls import x\nimport buildtool.ports\n",
}

BREACHES = (
    {
        "domain knows a port": (
            "buildtool/domain/a.py",
            "from buildtool.ports import X",
            "upward, from domain (rank 1)",
        ),
        "errors know a setting": ("buildtool/errors.py", "import buildtool.settings", "upward"),
        "the package knows its parts": (
            "buildtool/__init__.py",
            "from buildtool import ports",
            "upward, from root",
        ),
        "a port knows an adapter": ("buildtool/ports.py", "from buildtool.adapters import files", "upward"),
        "a shell knows an adapter": (
            "buildtool/requester.py",
            "from buildtool.adapters import files",
            "sideways",
        ),
        "a late import is an import": (
            "buildtool/requester.py",
            "def f():\n    import buildtool.adapters",
            ":2 imports",
        ),
        "an adapter knows a shell": ("buildtool/adapters/a.py", "import buildtool.metaserver", "sideways"),
        "an adapter knows the pages": (
            "buildtool/adapters/a.py",
            "from buildtool.web import urls",
            "sideways",
        ),
        "the pages know an adapter": ("web/a.py", "from buildtool.adapters import files", "sideways"),
        "the pages know an adapter, relatively": ("web/a.py", "from ..adapters import files", "sideways"),
        "the pages know the entry": ("web/pages/a.py", "from buildtool.entry import metaserver", "upward"),
        "a launcher goes past the entry": (
            "bin/webserver",
            "from buildtool.web import urls",
            "buildtool.entry only",
        ),
        "the pages under their other name": ("buildtool/entry/a.py", "from web import urls", "never as web"),
        "a launcher as a module": ("buildtool/entry/a.py", "import bin.metaserver", "started, not imported"),
        "a part that is nowhere": ("buildtool/entry/a.py", "from buildtool.missing import x", "no such part"),
        "a part without a rank": ("buildtool/helpers.py", "", "add it to GROUPS"),
        "a package without a rank": ("buildtool/util/__init__.py", "", "add it to GROUPS"),
        "a cycle of two": (
            "buildtool/ports.py",
            "from buildtool import wire",
            "buildtool.ports -> buildtool.wire -> b",
        ),
        "a cycle inside a package": (
            "web/urls.py",
            "from .pages import builds",
            "buildtool.web.pages.builds -> b",
        ),
        "a module that imports itself": ("buildtool/wire.py", "from buildtool import wire", "cycle"),
        "Twisted in the domain": (
            "buildtool/domain/a.py",
            "from twisted.internet import defer",
            "standard library and",
        ),
        "a dotted import in the domain": (
            "buildtool/domain/a.py",
            "import urllib.request",
            "standard library and",
        ),
        "paths in the domain": ("buildtool/domain/a.py", "from pathlib import Path", "standard library and"),
        "a file opened in the domain": ("buildtool/domain/a.py", "open('x')", "uses open()"),
        "the clock in the domain": (
            "buildtool/domain/a.py",
            "import datetime\ndatetime.datetime.now()",
            "datetime.now()",
        ),
        "the clock in a setting": (
            "buildtool/settings.py",
            "from datetime import date\ndate.today()",
            "date.today()",
        ),
        "a file opened in a shell": ("buildtool/metaserver.py", "def f():\n    open('x')", ":2 uses open()"),
        "a file read in a shell": ("buildtool/metaserver.py", "path.read_bytes()", "uses .read_bytes()"),
        "the system called in a shell": (
            "buildtool/metaserver.py",
            "import os\nos.kill(1, 9)",
            "uses os.kill",
        ),
        "the system called by name": ("buildtool/metaserver.py", "from os import kill", "imports os.kill"),
        "the disk asked in a page": ("web/a.py", "import os\nos.path.exists('x')", "uses os.path.exists"),
        "the reactor taken, not given": (
            "buildtool/requester.py",
            "from twisted.internet import reactor",
            "outside world",
        ),
        "threads in a shell": (
            "buildtool/requester.py",
            "from twisted.internet.threads import x",
            "outside world",
        ),
        "the database in a page": ("web/a.py", "from sqlalchemy.sql import x", "behind a port"),
        "Perspective Broker in a shell": (
            "buildtool/buildserver.py",
            "from twisted.spread import pb",
            "behind a port",
        ),
    }
    | {
        f"{name} {where}": (path, f"import {name}", text)
        for name in ("os", "io", "socket", "time", "random", "uuid", "secrets", "threading")
        for where, path, text in [("in the domain", "buildtool/domain/a.py", "standard library and")]
    }
    | {
        f"{name} in {path}": (path, f"from {name} import x", "outside world")
        for name in ("threading", "uuid", "random", "secrets", "time", "subprocess", "tempfile")
        for path in ("buildtool/wire.py", "buildtool/settings.py", "buildtool/metaserver.py", "web/a.py")
    }
)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_checkout_keeps_the_rules() -> None:
    assert violations(ROOT) == []


def test_the_check_really_reads_the_checkout(tmp_path: Path) -> None:
    """An empty directory is sound too, so the real one has to be seen to hold modules of every kind."""
    assert violations(tmp_path) == []
    for part in ("bin/metaserver", "buildtool/domain/model.py", "buildtool/errors.py"):
        assert (ROOT / part).is_file()


def test_a_tree_that_uses_everything_allowed_is_sound(tmp_path: Path) -> None:
    assert violations(write(tmp_path, SOUND)) == []


@pytest.mark.parametrize("breach", BREACHES)
def test_each_breach_is_found_and_is_the_only_thing_found(tmp_path: Path, breach: str) -> None:
    path, code, said = BREACHES[breach]
    found = violations(write(tmp_path, SOUND | {path: f"{code}\n{SOUND.get(path, '')}"}))
    assert len(found) == 1, found
    assert path in found[0] or found[0].startswith("import cycle"), found
    assert said in found[0], found


def test_the_link_to_the_pages_is_not_read_twice(tmp_path: Path) -> None:
    write(tmp_path, SOUND | {"web/a.py": "import time\n"})
    (tmp_path / "buildtool/web").symlink_to("../web")
    assert len(violations(tmp_path)) == 1
