"""What a metaserver tells of its projects: all that somebody may see, and no more."""

import hashlib
import json
from pathlib import Path

import attrs

from buildtool.configuration.current import CurrentConfiguration
from buildtool.configuration.settings import Settings, load_settings
from buildtool.metaserver.access.described import ProjectDescriber
from buildtool.model.access.audience import read_audience
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.project.definition import Project
from buildtool.protocol.hello import AskProjects, ProjectsDescribed
from buildtool.protocol.projects.described import read_described
from tests.programs.startcompile.test_command_line import project
from tests.support.inline import run

ROOT = Path(__file__).resolve().parents[3]
ANN = Principal(PrincipalRole.REQUESTER, name="ann", owner="ann@example.org")
BOB = Principal(PrincipalRole.REQUESTER, name="bob", owner="bob@example.org")


def settings(*projects: Project) -> Settings:
    return attrs.evolve(load_settings(ROOT / "config.py", secrets=False), projects=projects)


def told(describer: ProjectDescriber, by: Principal) -> ProjectsDescribed:
    return run(describer.describe(by, AskProjects()))


def names(answer: ProjectsDescribed) -> list[str]:
    return [one["name"] for one in json.loads(answer.text)["projects"]]


def test_only_what_a_caller_may_see_is_described_and_the_digest_is_that_of_the_text() -> None:
    hidden = attrs.evolve(project(name="secret"), visible_to=read_audience(["ann"]))
    describer = ProjectDescriber(CurrentConfiguration(settings(project(), hidden)))
    assert names(told(describer, ANN)) == ["tally", "secret"]
    assert names(told(describer, BOB)) == ["tally"]
    assert "secret" not in told(describer, BOB).text
    for by in (ANN, BOB):
        assert told(describer, by).digest == describer.digest(by)
        assert hashlib.sha256(told(describer, by).text.encode()).hexdigest() == describer.digest(by)
    assert describer.digest(ANN) != describer.digest(BOB)


def test_what_a_project_demands_of_the_sandbox_is_described_and_nothing_where_it_demands_none() -> None:
    strict = ProjectDescriber(CurrentConfiguration(settings(attrs.evolve(project(), sandbox="strict"))))
    answer = told(strict, ANN)
    assert read_described(answer.text, answer.digest, "here").project("tally").sandbox is SandboxLevel.STRICT
    assert "sandbox" not in told(ProjectDescriber(CurrentConfiguration(settings(project()))), ANN).text


def test_another_configuration_has_another_digest() -> None:
    current = CurrentConfiguration(settings(project()))
    describer = ProjectDescriber(current)
    before = describer.digest(ANN)
    current.settings = settings(project(), project(name="other"))
    assert describer.digest(ANN) != before
    current.settings = settings(project())
    assert describer.digest(ANN) == before


def test_what_is_told_makes_the_same_options_on_the_other_side() -> None:
    own = project()
    answer = told(ProjectDescriber(CurrentConfiguration(settings(own))), ANN)
    (found,) = read_described(answer.text, answer.digest, "there").projects
    assert found.options_digest == own.options.digest()
    plain = [attrs.evolve(one, pattern="") for one in own.options.compile]
    assert [attrs.evolve(one, shape="") for one in found.options.compile] == [
        attrs.evolve(one, shape="") for one in plain
    ]
    assert found.options.comparisons() == own.options.comparisons()
