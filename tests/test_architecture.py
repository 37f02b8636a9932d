"""Imports run one way, only adapters touch the world, rooms stay small, the map is true; and each check can fail."""

from pathlib import Path

import pytest

from tests.support.docstrings import docstring_violations
from tests.support.house_map import PICTURE, House, picture, read_picture, stale, survey
from tests.support.layers import violations
from tests.support.sizes import size_violations

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.xdist_group("checkout")  # whose syntax trees are read once

SOUND = {
    "bin/metaserver": "from buildtool.programs.metaserver import main\n",
    "buildtool/__init__.py": "",
    "buildtool/errors.py": "class BuildToolError(Exception): ...\n",
    "buildtool/model/__init__.py": "",
    "buildtool/model/records.py": "import re\nfrom attrs import frozen\nimport buildtool.errors\n",
    "buildtool/model/options.py": "from buildtool.model import records\n",
    "buildtool/concurrency/__init__.py": "",
    "buildtool/concurrency/signal.py": "from twisted.internet.defer import Deferred\n",
    "buildtool/scheduling/__init__.py": "",
    "buildtool/scheduling/decide.py": "from buildtool.model import records\n",
    "buildtool/ports/__init__.py": "",
    "buildtool/ports/common.py": "from buildtool.model.records import frozen\n",
    "buildtool/configuration/__init__.py": "",
    "buildtool/configuration/settings.py": "import pathlib\npathlib.Path('x').read_text(); open('x')\n",
    "buildtool/protocol/__init__.py": "",
    "buildtool/protocol/codec.py": "from buildtool.model import records\n",
    "buildtool/metaserver/__init__.py": "",
    "buildtool/metaserver/broker.py": (
        "import os\nfrom buildtool.protocol import codec\n"
        "from buildtool.scheduling import decide\nos.path.join('a', 'b')\n"
    ),
    "buildtool/requester/__init__.py": "",
    "buildtool/buildserver/__init__.py": "",
    "buildtool/adapters/__init__.py": "",
    "buildtool/adapters/storage/__init__.py": "",
    "buildtool/adapters/storage/artifacts.py": "import os, time, uuid, sqlalchemy\nopen('x'); os.fsync(1)\n",
    "buildtool/adapters/http/__init__.py": "",
    "buildtool/adapters/http/uploads.py": "from buildtool.adapters.storage import artifacts\n",
    "buildtool/programs/__init__.py": "",
    "buildtool/programs/metaserver/__init__.py": "",
    "buildtool/programs/metaserver/main.py": (
        "from twisted.internet import reactor\nfrom buildtool import web\n"
        "from buildtool.adapters.storage import artifacts\nfrom buildtool.scheduling import decide\n"
    ),
    "buildtool/demo/__init__.py": "",
    "buildtool/demo/demo.py": "from buildtool.programs.metaserver import main\n",
    "web/__init__.py": "from buildtool import __version__\n",
    "web/urls.py": "import urllib.parse\n",
    "web/pages/__init__.py": "",
    "web/pages/builds.py": "from .. import urls\nfrom ..urls import x\nimport buildtool.ports\n",
}

BREACHES = (
    {
        "the model knows a port": (
            "buildtool/model/a.py",
            "from buildtool.ports.common import X",
            "upward, from model (rank 1)",
        ),
        "errors know a setting": ("buildtool/errors.py", "import buildtool.configuration.settings", "upward"),
        "the package knows its parts": (
            "buildtool/__init__.py",
            "from buildtool import ports",
            "upward, from root",
        ),
        "a port knows an adapter": ("buildtool/ports/a.py", "from buildtool.adapters import storage", "upward"),
        "sharing knows a value": ("buildtool/concurrency/a.py", "from buildtool.model import records", "sideways"),
        "messages know decisions": ("buildtool/protocol/a.py", "from buildtool.scheduling import decide", "sideways"),
        "a port knows decisions": (
            "buildtool/ports/a.py",
            "from buildtool.scheduling import decide",
            "only the metaserver",
        ),
        "a page knows decisions": ("web/a.py", "from buildtool.scheduling import decide", "only the metaserver"),
        "an adapter knows decisions": (
            "buildtool/adapters/storage/a.py",
            "from buildtool.scheduling import decide",
            "only the metaserver",
        ),
        "another program knows decisions": (
            "buildtool/programs/buildserver.py",
            "from buildtool.scheduling import decide",
            "only the metaserver",
        ),
        "files know HTTP": (
            "buildtool/adapters/storage/a.py",
            "from buildtool.adapters.http import uploads",
            "storage/ does not know http/",
        ),
        "a shell knows an adapter": (
            "buildtool/requester/a.py",
            "from buildtool.adapters import storage",
            "sideways",
        ),
        "a shell knows another shell": (
            "buildtool/requester/a.py",
            "from buildtool.buildserver import x",
            "sideways",
        ),
        "a late import is an import": (
            "buildtool/requester/a.py",
            "def f():\n    import buildtool.adapters",
            ":2 imports",
        ),
        "an adapter knows a shell": ("buildtool/adapters/a.py", "import buildtool.metaserver", "sideways"),
        "an adapter knows the pages": (
            "buildtool/adapters/a.py",
            "from buildtool.web import urls",
            "sideways",
        ),
        "the pages know an adapter": ("web/a.py", "from buildtool.adapters import storage", "sideways"),
        "the pages know an adapter, relatively": ("web/a.py", "from ..adapters import storage", "sideways"),
        "the pages know a program": ("web/pages/a.py", "from buildtool.programs import metaserver", "upward"),
        "a program knows the demo": ("buildtool/programs/a.py", "from buildtool.demo import demo", "upward"),
        "a launcher goes past the programs": (
            "bin/webserver",
            "from buildtool.web import urls",
            "buildtool.programs only",
        ),
        "the pages under their other name": ("buildtool/programs/a.py", "from web import urls", "never as web"),
        "a launcher as a module": ("buildtool/programs/a.py", "import bin.metaserver", "started, not imported"),
        "a part that is nowhere": ("buildtool/programs/a.py", "from buildtool.missing import x", "no such part"),
        "a part without a rank": ("buildtool/helpers.py", "", "add it to RANKS"),
        "a package without a rank": ("buildtool/util/__init__.py", "", "add it to RANKS"),
        "a cycle of two": (
            "buildtool/model/records.py",
            "from buildtool.model import options",
            "buildtool.model.options -> buildtool.model.records -> b",
        ),
        "a cycle inside a package": (
            "web/urls.py",
            "from .pages import builds",
            "buildtool.web.pages.builds -> b",
        ),
        "a module that imports itself": (
            "buildtool/protocol/codec.py",
            "from buildtool.protocol import codec",
            "cycle",
        ),
        "Twisted in a decision": (
            "buildtool/scheduling/a.py",
            "from twisted.internet import defer",
            "standard library and",
        ),
        "a dotted import in the model": (
            "buildtool/model/a.py",
            "import urllib.request",
            "standard library and",
        ),
        "paths in the model": ("buildtool/model/a.py", "from pathlib import Path", "standard library and"),
        "a file opened in the model": ("buildtool/model/a.py", "open('x')", "uses open()"),
        "the clock in a decision": (
            "buildtool/scheduling/a.py",
            "import datetime\ndatetime.datetime.now()",
            "datetime.now()",
        ),
        "the clock in a setting": (
            "buildtool/configuration/settings.py",
            "from datetime import date\ndate.today()",
            "date.today()",
        ),
        "a file opened in a shell": ("buildtool/metaserver/a.py", "def f():\n    open('x')", ":2 uses open()"),
        "a file read in a shell": ("buildtool/metaserver/a.py", "path.read_bytes()", "uses .read_bytes()"),
        "the system called in a shell": (
            "buildtool/metaserver/a.py",
            "import os\nos.kill(1, 9)",
            "uses os.kill",
        ),
        "the system called by name": ("buildtool/metaserver/a.py", "from os import kill", "imports os.kill"),
        "the disk asked in a page": ("web/a.py", "import os\nos.path.exists('x')", "uses os.path.exists"),
        "the reactor taken, not given": (
            "buildtool/concurrency/a.py",
            "from twisted.internet import reactor",
            "outside world",
        ),
        "threads in a shell": (
            "buildtool/requester/a.py",
            "from twisted.internet.threads import x",
            "outside world",
        ),
        "the database in a page": ("web/a.py", "from sqlalchemy.sql import x", "behind a port"),
        "Perspective Broker in a shell": (
            "buildtool/buildserver/a.py",
            "from twisted.spread import pb",
            "behind a port",
        ),
    }
    | {
        f"{name} in {where}": (path, f"import {name}", text)
        for name in ("os", "io", "socket", "time", "random", "uuid", "secrets", "threading")
        for where, path, text in [
            ("the model", "buildtool/model/a.py", "standard library and"),
            ("a decision", "buildtool/scheduling/a.py", "standard library and"),
        ]
    }
    | {
        f"{name} in {path}": (path, f"from {name} import x", "outside world")
        for name in ("threading", "uuid", "random", "secrets", "time", "subprocess", "tempfile")
        for path in (
            "buildtool/protocol/codec.py",
            "buildtool/concurrency/a.py",
            "buildtool/configuration/settings.py",
            "buildtool/metaserver/a.py",
            "web/a.py",
        )
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
    for part in ("bin/metaserver", "buildtool/model/records.py", "buildtool/errors.py"):
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


# --- sizes, names and tests --------------------------------------------------------------------------------------


def test_rooms_modules_and_classes_are_small_have_names_of_their_own_and_tests_that_are_found() -> None:
    assert size_violations(ROOT) == []


METHODS = "class Wide:\n" + "".join(f"    def f{number}(self): ...\n" for number in range(21))

TOO_MUCH = {
    "a folder": (
        {f"buildtool/model/{chr(97 + number)}.py": "" for number in range(15)}
        | {f"tests/model/test_{chr(97 + number)}.py": "" for number in range(15)},
        "buildtool/model has 15 modules",
    ),
    "a module": (
        {"web/a.py": "x = 1\n" * 401, "tests/web/test_a.py": ""},
        "web/a.py has 401 lines",
    ),
    "a class": (
        {"buildtool/model/a.py": METHODS, "tests/model/test_a.py": ""},
        "buildtool.model.a.Wide has 21 methods",
    ),
    "a name": (
        {
            "buildtool/model/a.py": "class Same: ...\nclass _Own: ...\n",
            "web/b.py": '"""tests/model/test_a.py"""\nclass Same: ...\nclass _Own: ...\n',
            "tests/model/test_a.py": "",
        },
        "Same is a class in buildtool/model/a.py, web/b.py",
    ),
    "a test": (
        {"buildtool/model/a.py": '"""Tested by tests/model/test_other.py."""\n'},
        "buildtool/model/a.py has no test",
    ),
}


@pytest.mark.parametrize("what", TOO_MUCH)
def test_what_is_too_large_shared_or_without_a_test_is_said(tmp_path: Path, what: str) -> None:
    files, said = TOO_MUCH[what]
    (found,) = size_violations(write(tmp_path, files))
    assert found.startswith(said)


# --- docstrings --------------------------------------------------------------------------------------------------


def test_docstrings_say_what_a_thing_is_or_does_with_units_and_errors() -> None:
    """That each rule can fail is in tests/support/test_docstrings.py."""
    assert docstring_violations(ROOT) == []


# --- the map -----------------------------------------------------------------------------------------------------


def test_the_map_in_the_manual_shows_the_rooms_and_arrows_of_the_code() -> None:
    shown = read_picture((ROOT / PICTURE).read_text("utf-8"))
    assert list(stale(shown, survey(ROOT))) == [], "run: make map"


def test_a_map_says_what_was_surveyed() -> None:
    house = survey(ROOT)
    assert house.rooms.keys() >= {"model", "adapters", "adapters/sql", "web", "bin"}
    assert read_picture(picture(house)) == house
    assert list(stale(house, house)) == []


def test_a_map_is_stale_when_a_room_an_arrow_or_a_figure_is_another() -> None:
    house = House({"model": (10, 1000), "errors": (1, 100)}, {("model", "errors"): 5})
    assert len(list(stale(house, House(dict(house.rooms) | {"web": (1, 1)}, house.arrows)))) == 1
    assert len(list(stale(house, House(house.rooms, {})))) == 1
    assert len(list(stale(house, House(dict(house.rooms) | {"model": (10, 1200)}, house.arrows)))) == 1
    assert list(stale(house, House(dict(house.rooms) | {"model": (10, 1050)}, house.arrows))) == []
