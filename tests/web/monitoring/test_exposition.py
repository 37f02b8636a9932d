"""/metrics: what the metaserver tells, in the text that Prometheus reads, also while it does not answer."""

from typing import Any, TypeVar

from attrs import AttrsInstance
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from buildtool.errors import BuildToolError, StorageUnavailable, Unavailable, UsageError
from buildtool.model.metrics import table
from buildtool.ports.pages import ShownVisitor
from buildtool.protocol.pages.figures import AskFigures, Figure, FiguresTold
from tests.web.fake_pages import FakePages
from tests.web.farm import farm
from tests.web.visitor import Seen, Visitor

A = TypeVar("A", bound=AttrsInstance)

TOLD = FiguresTold(
    (
        Figure(table.WAITING.name, ("linux-ppc", "busy"), (3.0,)),
        Figure(table.REQUESTS.name, ("lua", "hit"), (41.0,)),
        Figure(table.COMMIT.name, (), (*[1.0] * len(table.COMMIT.bounds), 2.0, 0.5)),
        Figure("buildtool_of_tomorrow", (), (1.0,)),
    )
)


class Metaserver:
    """A metaserver that tells these figures, or fails."""

    def __init__(self, told: FiguresTold | BuildToolError) -> None:
        self.said = told

    async def act(self, shown: ShownVisitor, message: AttrsInstance, answer: type[A]) -> A:
        assert isinstance(message, AskFigures)
        if isinstance(self.said, BuildToolError):
            raise self.said
        assert isinstance(self.said, answer)
        return self.said

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked")


def scrape(told: FiguresTold | BuildToolError = TOLD, pages: FakePages | None = None, accept: str = "") -> Seen:
    visitor = Visitor(pages or farm(), questions=Metaserver(told))
    return visitor.visit("/metrics", headers={"Accept": accept} if accept else {})


def figures(seen: Seen) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (one.name, tuple(sorted(one.labels.values()))): one.value
        for family in text_string_to_metric_families(seen.text)
        for one in family.samples
    }


def test_what_the_metaserver_tells_is_there_by_name_and_labels() -> None:
    seen = scrape()
    assert seen.status == 200
    assert seen.headers["content-type"].startswith("text/plain; version=")
    found = figures(seen)
    assert found[table.UP.name, ()] == 1
    assert found[table.WAITING.name, ("busy", "linux-ppc")] == 3
    assert found[table.REQUESTS.name, ("hit", "lua")] == 41
    assert found[f"{table.COMMIT.name}_bucket", ("0.005",)] == 3, "buckets are of all below their bound"
    assert found[f"{table.COMMIT.name}_count", ()] == len(table.COMMIT.bounds) + 2
    assert found[f"{table.COMMIT.name}_sum", ()] == 0.5
    assert found[table.ARTIFACTS.name, ()] >= 1
    assert "of_tomorrow" not in seen.text


def test_who_asks_for_open_metrics_gets_that() -> None:
    seen = scrape(accept="application/openmetrics-text; version=1.0.0")
    assert seen.headers["content-type"].startswith("application/openmetrics-text")
    assert {family.name for family in open_metrics(seen.text)} >= {table.UP.name, "buildtool_requests"}


def test_a_metaserver_that_does_not_answer_is_told_as_down_and_so_is_one_that_knows_no_figures() -> None:
    for error in (Unavailable("it does not answer"), UsageError("this metaserver does not do that")):
        seen = scrape(error)
        assert seen.status == 200
        assert figures(seen)[table.UP.name, ()] == 0
        assert table.WAITING.name not in seen.text


def test_a_database_that_cannot_be_read_leaves_its_own_figures_out_and_no_others() -> None:
    seen = scrape(pages=FakePages(broken=StorageUnavailable("database is locked")))
    assert seen.status == 200
    assert table.ARTIFACTS.name not in seen.text
    assert figures(seen)[table.UP.name, ()] == 1


def test_ready_says_whether_pages_can_be_shown_whatever_else_is_wrong() -> None:
    assert Visitor(farm(), questions=Metaserver(Unavailable("away"))).visit("/ready").status == 200
    broken = FakePages(broken=StorageUnavailable("database is locked"))
    assert Visitor(broken).visit("/ready").status == 503
