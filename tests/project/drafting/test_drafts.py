"""A configuration that was written from a look is one that check-config accepts, whatever the sources are called."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.configuration.file import Execution, projects_of
from buildtool.project.definition import Project
from buildtool.project.drafting.drafts import draft
from buildtool.project.drafting.sources import SourcesLook, Switch
from buildtool.project.recipe import Plan
from buildtool.project.recipe_check import check_recipes, questions
from tests.project.drafting.test_sources import SEEN

AWKWARD = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


def read(text: str, place: Path) -> Project:
    path = place / "config.py"
    path.write_text(text, "utf-8")
    (found,) = projects_of(Execution().namespace(path)["projects"])
    return found


def written(found: SourcesLook, where: str = "/src") -> str:
    return draft(found, name=found.name or "mine", where=where, path="/farm/config.py", url="https://example.org/x.git")


@pytest.mark.parametrize("found", [one[2] for one in SEEN], ids=[one[2].system for one in SEEN])
def test_what_is_written_is_accepted_with_every_value_of_every_option(found: SourcesLook, tmp_path: Path) -> None:
    project = read(written(found), tmp_path)
    check_recipes([project], thorough=True)
    assert project.path_to_url("") == "https://example.org/x.git"
    assert {one.option for one in found.switches} <= {option.name for option in project.options.compile}
    first = next(iter(questions(project)))
    assert isinstance(project.recipe.plan(first.wanted), Plan)


def test_what_runs_anywhere_has_no_platform(tmp_path: Path) -> None:
    wheel = read(written(SourcesLook("python", "ink", backend="setuptools.build_meta")), tmp_path)
    assert wheel.options.artifact_names == frozenset()
    compiled = SourcesLook("python", "ink", facts=frozenset({"compiled"}), backend="setuptools.build_meta")
    assert "arch" in read(written(compiled), tmp_path).options.artifact_names


@given(AWKWARD, AWKWARD, AWKWARD)
def test_words_of_the_sources_never_become_code(
    tmp_path_factory: pytest.TempPathFactory, one: str, two: str, three: str
) -> None:
    found = SourcesLook("cmake", "ink", ("ink",), (Switch(one, "fast", default=True, help=two),))
    place = tmp_path_factory.getbasetemp()
    text = written(found, where=f"/src/{three}")
    project = read(text, place)
    assert project.options.compile[0].help in (two, f"{one} of the sources")
