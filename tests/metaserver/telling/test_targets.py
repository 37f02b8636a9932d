"""Who is told is shown to who sees the project, with what waits; and tried by who may drain the farm."""

from collections.abc import Mapping

import pytest
from attrs import evolve

from buildtool.configuration.current import CurrentConfiguration
from buildtool.errors import Unauthorised, Unavailable, UnknownProject
from buildtool.metaserver.authorised import Permissions
from buildtool.metaserver.telling.targets import TargetService, Try
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.programs.operating.target_lines import target_lines
from buildtool.protocol.projects.targets import AskTargets, TargetsFound, TargetStatus, TryTargets
from tests.metaserver.test_build_servers import settings
from tests.project.test_recipe_check import good, made
from tests.support.inline import run
from tests.support.notices import MemoryNotices, notice

OPERATOR = Principal(PrincipalRole.OPERATOR, name="root", trusted=True)
REQUESTER = Principal(PrincipalRole.REQUESTER, name="ann", owner="ann@example.org")

PROJECT = made(good).name


async def _well() -> str:
    return ""


async def _badly() -> str:
    return "it answers 401: Bad credentials"


async def _not() -> str:
    raise Unavailable("forge.test does not answer")


def service(store: MemoryNotices, away: Mapping[str, str] | None = None, *, hidden: bool = False) -> TargetService:
    tries: dict[str, Try] = {f"{PROJECT}/b": _badly, f"{PROJECT}/a": _well, f"{PROJECT}/c": _not}
    return TargetService(store, allowed(hidden=hidden), lambda: tries, lambda: away or {})


def allowed(*, hidden: bool = False) -> Permissions:
    project = made(good, visible_to="nobody" if hidden else "everybody")
    return Permissions(CurrentConfiguration(evolve(settings(), projects=(project,))))


def test_each_target_is_shown_with_what_waits_and_why() -> None:
    store = MemoryNotices()
    run(store.post(notice(target=f"{PROJECT}/a", at=5.0), notice("x", target=f"{PROJECT}/a", at=4.0)))
    run(store.post(notice(target=f"{PROJECT}/gone"), notice(target="other/a")))
    (first, *_) = run(store.due(f"{PROJECT}/a", 9.0, 9.0, 1))
    run(store.deferred(first, 99.0, "it answers 404"))
    told = run(service(store, {f"{PROJECT}/b": "b is away"}).told(OPERATOR, AskTargets()))
    assert [one.name for one in told.found if one.name.startswith(PROJECT)] == [
        f"{PROJECT}/{name}" for name in ("a", "b", "c", "gone")
    ]
    by_name = {one.name: one for one in told.found}
    assert by_name[f"{PROJECT}/a"] == TargetStatus(f"{PROJECT}/a", 2, 4.0, 0, None, "it answers 404")
    assert by_name[f"{PROJECT}/b"] == TargetStatus(f"{PROJECT}/b", 0, None, 0, None, "b is away", True)
    after = run(service(store).told(OPERATOR, AskTargets(f"{PROJECT}/b")))
    assert f"{PROJECT}/a" not in {one.name for one in after.found}


def test_targets_of_a_project_that_somebody_does_not_see_are_not_shown_or_tried() -> None:
    found = run(service(MemoryNotices(), hidden=True).told(REQUESTER, AskTargets()))
    assert [one for one in found.found if one.name.startswith(PROJECT)] == []
    with pytest.raises(Unauthorised):
        run(service(MemoryNotices()).tried(REQUESTER, TryTargets(PROJECT)))


def test_a_try_says_of_each_target_what_is_wrong_with_it() -> None:
    told = run(service(MemoryNotices()).tried(OPERATOR, TryTargets(PROJECT)))
    assert not told.changed
    assert set(told.words) == {
        f"{PROJECT}/a: it answers, and takes what it is told",
        f"{PROJECT}/b: it answers 401: Bad credentials",
        f"{PROJECT}/c: forge.test does not answer",
    }
    with pytest.raises(UnknownProject):
        run(service(MemoryNotices()).tried(OPERATOR, TryTargets("nothing")))
    nobody = TargetService(MemoryNotices(), allowed(), dict, dict)
    (words,) = run(nobody.tried(OPERATOR, TryTargets(PROJECT))).words
    assert words.startswith(f"{PROJECT}: nobody is told")


def test_what_is_shown_is_written_in_lines_for_people() -> None:
    lines = list(
        target_lines(
            TargetsFound(
                (
                    TargetStatus("lua/forge", 2, 60.0, 1, 120.0, "it answers 502"),
                    TargetStatus("lua/other", 0, None, 0, None, ""),
                ),
                more=True,
            )
        )
    )
    assert lines == [
        "lua/forge",
        "  told last at 1970-01-01 00:02 UTC",
        "  2 things wait, since 1970-01-01 00:01 UTC",
        "  given up: 1",
        "  it answers 502",
        "lua/other",
        "  was told nothing yet",
        "there are more: --json with the API's after",
    ]
    assert next(iter(target_lines(TargetsFound(())))).startswith("nobody is told")
