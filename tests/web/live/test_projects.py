"""Which projects a form offers: those that the metaserver describes to who looks, and its own only without its word."""

import pytest
from attrs import AttrsInstance, define, field

from buildtool.errors import BuildToolError, Overloaded, Unauthorised, Unavailable, UsageError
from buildtool.model.options import flag
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.project_options import ProjectOptions
from buildtool.model.properties import standard
from buildtool.ports.pages import A, ShownVisitor
from buildtool.protocol.hello import AskProjects, ProjectsDescribed
from buildtool.web.live.projects import BELIEVED, KnownProjects, ProjectReader
from tests.fakes_build import OPTIONS
from tests.support.inline import run
from tests.support.memory import WallClock
from tests.web.api.world import described_by
from tests.web.fake_pages import NoQuestions
from tests.web.test_access import Some

NEWER = ProjectOptions(standard(), (*OPTIONS.compile, flag("jit")))
VISITOR = Principal(PrincipalRole.VISITOR, address="192.0.2.7")
ANN = Principal(PrincipalRole.REQUESTER, name="ann", owner="ann@example.org")


@define
class Describing(NoQuestions):
    """A metaserver that describes ``told``, or raises that; ``asked`` are who asked."""

    told: ProjectsDescribed | BuildToolError
    asked: list[ShownVisitor] = field(factory=list)

    async def act(self, shown: ShownVisitor, message: AttrsInstance, answer: type[A]) -> A:
        assert (message, answer) == (AskProjects(), ProjectsDescribed)
        self.asked.append(shown)
        if isinstance(self.told, BuildToolError):
            raise self.told
        assert isinstance(self.told, answer)
        return self.told


@define
class Reading:
    """A reader, and what it reads of a visitor."""

    metaserver: Describing
    clock: WallClock = field(factory=lambda: WallClock(1_000.0))
    reader: ProjectReader = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.reader = ProjectReader(self.metaserver, Some(VISITOR), self.clock)

    def read(self, by: Principal = VISITOR) -> KnownProjects:
        return run(self.reader.read(ShownVisitor(by)))


def test_what_the_metaserver_describes_counts_and_not_what_the_pages_were_started_with() -> None:
    reading = Reading(Describing(described_by({"testproject": NEWER, "newest": NEWER})))
    found = reading.read()
    assert (list(found.options), found.note) == (["testproject", "newest"], "")
    assert [one.name for one in found.options["testproject"].compile][-1] == "jit"


def test_what_the_rights_of_the_pages_hide_stays_hidden_also_where_the_metaserver_tells_of_it() -> None:
    reading = Reading(Describing(described_by({"testproject": NEWER, "lua": NEWER})))
    assert list(reading.read().options) == ["testproject"]
    assert list(reading.read(ANN).options) == ["testproject", "lua"]


def test_one_is_asked_for_again_only_after_a_while_and_for_each_visitor_who_is_another() -> None:
    metaserver = Describing(described_by({"testproject": OPTIONS}))
    reading = Reading(metaserver)
    first = reading.read()
    assert reading.read(Principal(PrincipalRole.VISITOR, address="192.0.2.8")) == first
    assert len(metaserver.asked) == 1, "strangers are all told the same"
    reading.read(ANN)
    assert [one.by for one in metaserver.asked] == [VISITOR, ANN]
    for _ in range(3):
        reading.clock.now += BELIEVED
        metaserver.told = described_by({"testproject": NEWER})
        assert len(reading.read().options["testproject"].compile) == len(NEWER.compile)
        reading.read()
    assert len(metaserver.asked) == 5


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Unavailable("nothing listens at /srv/farm/state"), "The metaserver does not answer, try again later."),
        (Overloaded("it is busy"), "It is busy."),
        (UsageError("the descriptions are too long"), "The descriptions are too long."),
    ],
)
def test_without_its_word_the_pages_offer_what_they_know_and_say_so(error: BuildToolError, said: str) -> None:
    metaserver = Describing(error)
    reading = Reading(metaserver)
    found = reading.read()
    assert dict(found.options) == {"testproject": OPTIONS}
    assert found.note == f"{said} Projects and options are those that these pages know."
    metaserver.told = described_by({"testproject": NEWER})
    assert reading.read().note == "", "it is asked as soon as it answers"


def test_descriptions_that_are_none_are_not_used() -> None:
    for told in (ProjectsDescribed("0" * 64, "{}"), ProjectsDescribed("", "")):
        found = Reading(Describing(told)).read()
        assert list(found.options) == ["testproject"]
        assert "its projects with a digest that does not fit" in found.note


def test_who_may_not_be_told_is_not() -> None:
    with pytest.raises(Unauthorised):
        Reading(Describing(Unauthorised("not here"))).read()
