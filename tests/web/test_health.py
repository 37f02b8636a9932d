"""/health: 200 when all is well, 503 with what is wrong, and never a path of the machine."""

import json

import pytest

from buildtool.errors import StorageUnavailable
from buildtool.ports.pages import ShownVisitor
from buildtool.protocol.messages import HealthStatus, ReactorTurns
from buildtool.web import health
from tests.web.fake_pages import FakePages
from tests.web.farm import farm
from tests.web.visitor import Visitor


class Asked:
    """A metaserver that says this; None when it does not answer."""

    def __init__(self, told: HealthStatus | None) -> None:
        self.told = told

    async def health(self, visitor: ShownVisitor) -> HealthStatus | None:
        return self.told


TROUBLED = HealthStatus(
    ok=False,
    problems=(
        "/var/lib/farm/buildtool.sqlite cannot be used: database is locked",
        "the disk of the state directory has only 12 MiB left",
    ),
)


def visit(told: HealthStatus | None, pages: FakePages | None = None) -> tuple[int, dict[str, object]]:
    seen = Visitor(pages or farm(), condition=Asked(told)).visit("/health")
    assert seen.headers["cache-control"] == "no-store"
    return seen.status, json.loads(seen.text)


def test_a_metaserver_that_is_well_is_200() -> None:
    status, body = visit(HealthStatus(ok=True))
    assert status == 200
    assert (body["status"], body["database"], body["metaserver"], body["problems"]) == ("ok", "0001", "ok", [])


def test_trouble_is_503_with_each_problem_in_one_line_and_without_paths() -> None:
    status, body = visit(TROUBLED)
    assert status == 503
    assert (body["status"], body["metaserver"]) == ("troubled", "troubled")
    assert body["problems"] == [
        "buildtool.sqlite cannot be used: database is locked",
        "the disk of the state directory has only 12 MiB left",
    ]


def test_it_says_how_long_the_turns_of_the_reactor_take() -> None:
    _, body = visit(HealthStatus(ok=True, turns=ReactorTurns(1_000, 0.05, 2.5, 31.0, 44.0, 12.5)))
    assert body["turns"] == {
        "count": 1_000, "p50_ms": 0.05, "p99_ms": 2.5, "p999_ms": 31.0, "max_ms": 44.0, "pause_max_ms": 12.5,
    }  # fmt: skip
    assert "turns" not in visit(HealthStatus(ok=True))[1], "one of an older metaserver does not know"


def test_it_says_how_old_the_last_good_backup_is_where_there_is_one() -> None:
    assert visit(HealthStatus(ok=True, backup_age=5_400.7))[1]["backup_age_s"] == 5_400
    assert "backup_age_s" not in visit(HealthStatus(ok=True))[1]


def test_a_metaserver_that_does_not_answer_is_503() -> None:
    status, body = visit(None)
    assert status == 503
    assert (body["status"], body["metaserver"]) == ("troubled", "no answer")


def test_a_database_that_cannot_be_read_is_told_before_all_else() -> None:
    status, body = visit(TROUBLED, FakePages(broken=StorageUnavailable("/secret/place cannot be used")))
    assert status == 503
    assert (body["status"], body["reason"]) == ("unavailable", "storage-unavailable")
    assert "database" not in body
    assert "secret" not in json.dumps(body)


@pytest.mark.parametrize(
    "line", ["files wait in quarantine/ for somebody", "12 MiB left of 1/2", "no mail since 10:00"]
)
def test_what_only_looks_like_a_path_stays(line: str) -> None:
    assert health.health_answer("1", "1", "", HealthStatus(ok=False, problems=(line,)), asked=True).body[
        "problems"
    ] == [line]
