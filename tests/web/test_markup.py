"""The markup and style of every page, checked by the checker that the W3C uses (vnu): it finds nothing."""

import json
import subprocess
from pathlib import Path

import pytest

from buildtool.web.access import EverythingSeen
from tests.fakes_build import OPTIONS
from tests.support.packages import require, require_that
from tests.web.farm import farm, logs
from tests.web.visitor import Visitor

ROOT = Path(__file__).resolve().parents[2]
JAR = ROOT / ".cache/vnu.jar"

PATHS = (
    "/", "/builds", "/builds?state=failed", "/builds?project=none", "/buildservers", "/queue",
    "/buildservers/elm", "/your-machines",
    "/?span=week", "/matrix/testproject", "/request", "/request?_several=yes", "/nothing-here",
    *(f"/build/{build.id}" for build in farm().builds_made),
)  # fmt: skip

pytestmark = [pytest.mark.world, pytest.mark.long]


def test_the_checker_finds_nothing_in_any_page_or_style(tmp_path: Path) -> None:
    java = require("java", "default-jre-headless")
    require_that(present=JAR.exists(), what="vnu.jar is not there", remedy=".ci/vnu")
    visitor = Visitor(farm(), logs(), access=EverythingSeen(["testproject"], options={"testproject": OPTIONS}))
    for number, path in enumerate(PATHS):
        (tmp_path / f"{number:02}.html").write_bytes(visitor.visit(path).body)
    for style in (ROOT / "web/static").glob("*.css"):
        (tmp_path / style.name).write_bytes(style.read_bytes())
    (tmp_path / "wrong.html").write_text("<!DOCTYPE html><html lang=en><title>x</title><p><blink>no</blink>")
    command = [java, "-jar", str(JAR), "--format", "json", "--also-check-css", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    found = json.loads(done.stderr)["messages"]
    assert [one for one in found if one["url"].endswith("wrong.html")], "it looks"
    told = [
        (Path(one["url"]).name, one.get("lastLine"), one["message"])
        for one in found
        if one["type"] != "info" and not one["url"].endswith("wrong.html")
    ]
    assert told == []
