"""Figures for monitoring: what is counted at commits, what is read when somebody asks, and who is told which names."""

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred

from buildtool.configuration.current import CurrentConfiguration
from buildtool.errors import StorageUnavailable
from buildtool.metaserver.authorised import Permissions
from buildtool.metaserver.showing.figures import KEPT, FigureService, TurnFigures
from buildtool.model.farm.backups import LastBackup
from buildtool.model.metrics import table
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.ports.resources import ResourceUse
from buildtool.protocol.codec import decode, encode
from buildtool.protocol.pages.figures import AskFigures, FiguresTold
from buildtool.scheduling.events import Registered
from tests.metaserver.test_operations import OperatorCase
from tests.scheduling.worlds import machine, spec, submitted
from tests.support.memory import full_disk

STRANGER = Principal(PrincipalRole.VISITOR)
OPERATOR = Principal(PrincipalRole.OPERATOR, "ann")
USE = ResourceUse(40, 4096, 100_000_000, 12.5, 1_790_000_000.0, 5_000, 10_000, 20_000)


class Machine:
    """A machine that takes this much, or whose disk does not say."""

    def __init__(self) -> None:
        self.broken = False

    async def read(self) -> ResourceUse:
        if self.broken:
            raise StorageUnavailable("the state directory cannot be looked at")
        return USE


class FigureTests(OperatorCase):
    def setUp(self) -> None:
        super().setUp()
        self.machine = Machine()
        self.figures = FigureService(
            self.broker, self.service.permissions, self.history, self.troubles, self.machine,
            lambda: TurnFigures([1.0] * table.TURN.width, 0.25), self.wall,
        )  # fmt: skip

    def told(self, by: Principal = OPERATOR) -> dict[tuple[str, ...], Any]:
        self.wall.now += KEPT
        told = self.done(self.figures.told(by, AskFigures()))
        assert decode(FiguresTold, encode(told)) == told
        return {(one.name, *one.labels): one.numbers[0] for one in told.figures}

    def test_a_farm_where_nothing_happens_has_a_figure_for_each_state_that_is_looked_at(self) -> None:
        told = self.told()
        assert told[table.REQUESTS_OPEN.name,] == 0
        assert [told[table.SERVERS.name, word] for word in table.SERVER_STATES] == [0] * len(table.SERVER_STATES)
        assert [told[table.SLOTS.name, word] for word in table.SLOTS.values] == [0, 0]
        assert told[table.FREE.name,] == USE.free
        assert told[table.DESCRIPTORS_MOST.name,] == USE.descriptors_most
        assert told[table.PAUSE.name,] == 0.25

    def test_when_the_last_good_backup_was_made_is_told_with_how_old_it_may_be(self) -> None:
        told = self.told()
        assert (told[table.BACKUP.name,], told[table.BACKUP_WITHIN.name,]) == (0, 0)
        self.figures.last_backup = lambda: LastBackup(1_795_857_460.5, 93_600.0)
        told = self.told()
        assert (told[table.BACKUP.name,], told[table.BACKUP_WITHIN.name,]) == (1_795_857_460.5, 93_600.0)

    def test_what_waits_is_told_by_platform_and_reason_with_the_age_of_the_oldest(self) -> None:
        self.done(self.broker.send(submitted("ppc", spec(0, platform={"os": "linux", "arch": "ppc"}))))
        self.wall.now += 90
        self.login("anna")
        self.ask(1)
        told = self.told()
        assert told[table.WAITING.name, "linux-ppc", "never"] == 1
        assert told[table.OLDEST.name,] == 90 + KEPT
        assert told[table.SERVERS.name, "building"] == 1
        assert told[table.LEASES.name, "live"] == 1
        assert told[table.SLOTS.name, "busy"] == 1

    def test_requests_are_counted_by_their_answers_and_builds_by_their_ends(self) -> None:
        self.login("anna")
        self.wall.now += 1
        self.built(0)
        self.done(self.broker.send(submitted("again", spec(0))))
        told = self.told()
        assert told[table.REQUESTS.name, "lua", "dispatched"] == 1
        assert told[table.REQUESTS.name, "lua", "hit"] == 1
        assert told[table.ENDED.name, "lua", "succeeded"] == 1
        assert told[table.ATTEMPTS.name, "succeeded"] == 1
        assert told[table.EVENTS.name,] >= 4

    def test_each_commit_is_timed_and_one_that_fails_is_counted(self) -> None:
        self.login("anna")
        counted = sum(self.numbers(table.COMMIT.name)[:-1])
        assert counted >= 1
        self.store.problems.append(full_disk())
        sent = Deferred.fromCoroutine(self.broker.send(Registered("bert", machine())))
        self.failureResultOf(sent, StorageUnavailable)
        assert self.numbers(table.COMMITS_FAILED.name)[0] == 1
        assert sum(self.numbers(table.COMMIT.name)[:-1]) == counted

    def numbers(self, name: str) -> tuple[float, ...]:
        (found,) = (one.numbers for one in self.broker.counts.counts.samples() if one.name == name)
        return found

    def test_projects_that_somebody_does_not_see_are_added_up_without_their_names(self) -> None:
        self.login("anna")
        self.built(0)
        hidden = evolve(self.service.configuration.settings, projects=())
        self.figures.permissions = Permissions(CurrentConfiguration(hidden))
        told = self.told(STRANGER)
        assert told[table.ENDED.name, table.OTHER, "succeeded"] == 1
        assert not any("lua" in key for key in told)

    def test_a_database_or_disk_that_does_not_answer_leaves_out_what_it_would_say(self) -> None:
        self.history.problem, self.machine.broken = full_disk(), True
        told = self.told()
        assert (table.MAILS.name,) not in told
        assert (table.FREE.name,) not in told
        assert told[table.REQUESTS_OPEN.name,] == 0

    def test_what_was_read_is_told_again_for_a_moment(self) -> None:
        before = self.told()
        self.ask(0)
        again = self.done(self.figures.told(OPERATOR, AskFigures()))
        assert {(one.name, *one.labels): one.numbers[0] for one in again.figures} == before
