"""What build servers did, for programs: the same sums as on pages, and nothing of what may not be seen by name."""

from typing import Any

from attrs import evolve

from buildtool.client.groups import MachineGroup
from buildtool.ports.work import WorkFound, WorkLine
from buildtool.protocol.api.work import WORK_ROWS
from buildtool.web.api.work import report
from tests.client.farms import ClientWorld
from tests.web.api.world import KEYED, ApiWorld, said
from tests.web.test_access import SECRET


def rows(told: Any) -> list[tuple[str, int, int, int, int | None]]:
    return [(it["project"], it["succeeded"], it["failed"], it["other"], it["requesters"]) for it in told["rows"]]


def test_a_build_servers_work_is_told_by_month_and_project() -> None:
    world = ApiWorld()
    world.pages.attempts = [evolve(it, processor=1.5) for it in world.pages.attempts]
    told = said(world.get("/machines/elm/work"))
    assert rows(told) == [("testproject", 2, 1, 1, 3)]
    assert (told["rows"][0]["month"], told["rows"][0]["processor_seconds"]) == ("2026-09", 6.0)
    assert world.get("/machines/none/work").status == 404


def test_a_project_that_may_not_be_seen_has_no_name_there() -> None:
    world = ApiWorld()
    world.pages.builds_made = [evolve(it, spec=evolve(it.spec, project=SECRET)) for it in world.pages.builds_made]
    assert rows(said(world.get("/machines/elm/work"))) == [("", 2, 1, 1, None)]
    assert rows(said(world.get("/machines/elm/work", world.token()))) == [(SECRET, 2, 1, 1, 3)]


def test_ones_own_machines_are_told_together_and_each_and_nothing_to_who_is_not_known() -> None:
    world = ApiWorld()
    owners = {"elm": KEYED.owner, "yew": KEYED.owner}
    world.pages.servers = [evolve(it, owner=owners.get(it.name, "")) for it in world.pages.servers]
    told = said(world.get("/me/machines", world.token()))
    assert [(it["name"], [row["succeeded"] for row in it["rows"]]) for it in told["machines"]] == [
        ("elm", [2]), ("yew", []),
    ]  # fmt: skip
    assert rows(told["together"]) == [("testproject", 2, 1, 1, 3)]
    nobodys = said(world.get("/me/machines"))
    assert (rows(nobodys["together"]), nobodys["machines"]) == ([], [])


def test_the_client_reads_it() -> None:
    at = ClientWorld()
    machines = MachineGroup(at.api())
    assert at.do(machines.work("elm")).rows[0].succeeded == 2
    assert at.do(machines.own()).machines == ()


def test_an_answer_has_at_most_so_many_rows_the_newest() -> None:
    lines = tuple(WorkLine("2026-09", "", f"p{number}", good=1) for number in range(WORK_ROWS + 1))
    found = report(WorkFound(lines), lambda _project: True).rows
    assert (len(found), found[0].project) == (WORK_ROWS, "p0")
