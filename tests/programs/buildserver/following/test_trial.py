"""A configuration is tried in a process of its own: what it does wrong there is one line, and harms nothing here."""

import pytest

from buildtool.programs.buildserver.following.trial import TrialRunner
from tests.programs.buildserver.following.conftest import Donor, config

pytestmark = pytest.mark.world


def tried(donor: Donor, text: str, *networked: str, limit: float = 60.0) -> str:
    path = donor.own.parent / "tried" / "config.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return TrialRunner(limit).attempt(donor.own, path, networked)


def test_what_loads_and_answers_will_do(donor: Donor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_DONOR", "yes")
    said = "import os\nprint('noise')\nassert os.environ['OF_THE_DONOR'] == 'yes'"
    assert tried(donor, config(2, said), "one") == ""


@pytest.mark.parametrize(
    ("before", "why"),
    [
        ("raise ValueError('no')", "config.py:3: ValueError: no"),
        ("def", "config.py:3: invalid syntax"),
        ("import os; os._exit(3)", "ended the program with exit code 3"),
        ("import os; os.kill(os.getppid(), 9)", "trying it ended with exit code -9"),
    ],
)
def test_what_raises_or_ends_the_process_is_told_in_a_line(donor: Donor, before: str, why: str) -> None:
    told = tried(donor, config(2, before))
    assert why in told
    assert "\n" not in told


def test_a_recipe_that_does_not_answer_is_found(donor: Donor) -> None:
    text = config(2).replace('Plan([Command(["make"])], deliverables=["x"])', "wanted.nothing")
    assert "AttributeError" in tried(donor, text)


def test_what_hangs_is_broken_off(donor: Donor) -> None:
    assert tried(donor, config(2, "while True: pass"), limit=0.5) == "it was not loaded and asked within 0.5 s"


def test_a_project_that_may_use_the_network_must_still_be_there(donor: Donor) -> None:
    assert tried(donor, config(2, name="two"), "one") == "it has no project one, which --allow-network names"
    assert "projects is empty" in tried(donor, "projects = []")
