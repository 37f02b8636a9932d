"""What a farm for trying things out is configured as, and what is said of how it is used."""

from pathlib import Path

import pytest

from buildtool.configuration.given.values import Given
from buildtool.configuration.settings import Settings, load_settings
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.programs.common.ending import ROOT
from buildtool.programs.local.words import configuration, what_to_do

NONE, WEAK, STRICT = SandboxLevel.NONE, SandboxLevel.WEAK, SandboxLevel.STRICT

EXAMPLE = ROOT / "testproject" / "config.py"


def settings(directory: Path, chosen: tuple[str, ...] = (), recipe: Path = EXAMPLE) -> Settings:
    file = directory / "local.py"
    file.write_text(configuration(directory, (1, 2, 3), recipe, chosen))
    return load_settings(file, given=Given())


@pytest.mark.parametrize("recipe", ["config.py", "testproject/config.py"])
def test_it_has_the_projects_of_one_file_whether_that_is_a_projects_or_a_farms(tmp_path: Path, recipe: str) -> None:
    found = settings(tmp_path, recipe=ROOT / recipe)
    assert [one.name for one in found.projects] == ["testproject"]
    assert (found.pb_port, found.transfer_port, found.web_port) == (1, 2, 3)
    assert found.state_dir.parent == found.build_dir.parent == tmp_path
    assert not found.needs_keys


def test_of_several_projects_those_are_built_that_are_chosen(tmp_path: Path) -> None:
    loaded = f"_one = load({str(EXAMPLE)!r})"
    more = "import attrs\nprojects = [_one, attrs.evolve(_one, name='other')]"
    (tmp_path / "two.py").write_text(f"{loaded}\n{more}\n")
    assert len(settings(tmp_path, recipe=tmp_path / "two.py").projects) == 2
    (one,) = settings(tmp_path, ("other",), tmp_path / "two.py").projects
    assert one.name == "other"
    told = "\n".join(what_to_do(settings(tmp_path, recipe=tmp_path / "two.py"), [STRICT], "bin/metaserver"))
    assert "ask for other:  bin/startcompile.py --host 127.0.0.1 --port 1 --project other --foreground" in told


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ([STRICT], "1 build server, whose builds run in a strict sandbox, as this machine has proved."),
        ([STRICT, WEAK], "2 build servers, whose builds run in a weak sandbox, as this machine has proved."),
        (
            [NONE],
            "1 build server, whose builds run without a sandbox, since none can be had here: ",
        ),
    ],
)
def test_one_line_says_in_what_builds_run_by_the_least_that_was_proved(
    tmp_path: Path, levels: list[SandboxLevel], words: str
) -> None:
    told = list(what_to_do(settings(tmp_path), levels, "/usr/bin/metaserver"))
    assert sum(words in line for line in told) == 1
    assert any("http://127.0.0.1:3/" in line for line in told)
    assert any(line.strip().startswith("ask for testproject:  /usr/bin/startcompile.py --host") for line in told)
    assert any(f"All of it lies in {tmp_path}, which is removed at the end" in line for line in told)
