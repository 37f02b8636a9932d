"""The form that asks for builds follows the metaserver, whatever the pages were started with."""

from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.e2e.control import CONFIG, Control

pytestmark = [pytest.mark.world]

OLDER = f"""
exec(compile(open({str(CONFIG)!r}).read(), "older", "exec"))
from attrs import evolve as _evolve
_options = projects[0].options
projects = [_evolve(projects[0], options=ProjectOptions(_options.system, _options.compile[:1]))]
"""


def test_pages_with_an_older_configuration_offer_what_the_metaserver_has(running: Control, tmp_path: Path) -> None:
    older = tmp_path / "older.py"
    older.write_text(OLDER)
    words = [str(running.farm.root / "bin" / "webserver"), "--config", str(older), "--port", "0"]

    def form() -> str:
        """Return the form of pages that have just been started: they believe for a while what they were told."""
        pages = running.farm.start("webserver", words)
        site = pages.wait_for(r"pages on (http://127\.0\.0\.1:\d+)/")[1]
        with urlopen(f"{site}/request", timeout=60) as answer:  # noqa: S310 - it is ours
            return str(answer.read(), "utf-8")

    told = form()
    assert 'name="loud"' in told
    assert "these pages know" not in told
    next(one for one in running.farm.programs if one.name == "metaserver").kill()
    told = form()
    assert 'name="loud"' not in told
    assert (
        "The metaserver does not answer, try again later. Projects and options are those that these pages know." in told
    )
