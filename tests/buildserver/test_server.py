"""The build server's shell: what it takes, how it says whose failure it was, and that it always says an end."""

import errno
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from buildtool.buildserver.attempt import RECIPE_PATIENCE
from buildtool.buildserver.blame import Stopped, brief, judge_start
from buildtool.buildserver.delivery import WRONG, SpoolLimits
from buildtool.buildserver.naming import artifact_name
from buildtool.buildserver.order_check import CHECKERS_PATIENCE
from buildtool.buildserver.server import LEAVING
from buildtool.errors import (
    BadArchive,
    BadTicket,
    BadUpload,
    BuildFailed,
    BuildToolError,
    Declined,
    DeliverableMissing,
    MachineFault,
    NotFound,
    RepositoryUnreachable,
    StorageUnavailable,
    TooLong,
    Unavailable,
    UsageError,
)
from buildtool.model.names import ARTIFACT_NAME_LIMIT
from buildtool.model.options import canonical
from buildtool.model.records import AttemptEnd
from buildtool.model.servers import HeldState, HeldVerdict, Offer, OfferKind, Verdict
from buildtool.ports.buildserver import Obstacle
from buildtool.project.definition import Checked
from buildtool.project.recipe import Command, Plan, Recipe, Wanted
from buildtool.protocol.messages import AbortOrder, Accepted, Done, Ended, Ok, Order, Welcome
from buildtool.protocol.source_parts import SourceKind, SourcePart
from tests.fakes_build import BASE, COMMIT, FAILED, Place, ending, order, place, project, yes
from tests.model.binaries.heads import elf
from tests.model.binaries.test_judging import file_for, needing
from tests.support.logs import listening


class Asleep:
    """An Executor in which the functions of these names never come to an end."""

    def __init__(self, names: set[str]) -> None:
        self.names = names

    async def run(self, function: Callable[[], Any]) -> Any:
        asked = function.args[1] if isinstance(function, partial) else function
        inner = asked.func if isinstance(asked, partial) else asked
        if inner.__name__ in self.names:
            await Deferred()
        return function()


class Unsayable(BaseException):
    """An exception that raises another when it is asked what it says."""

    def __init__(self, inner: BaseException) -> None:
        super().__init__()
        self.inner = inner

    def __str__(self) -> str:
        raise self.inner


class Case(SynchronousTestCase):
    def take(self, at: Place, wanted: Order | None = None) -> Accepted:
        """Have an order taken, and let the Attempt begin."""
        accepted: Accepted = self.successResultOf(
            Deferred.fromCoroutine(at.server.build(order() if wanted is None else wanted))
        )
        at.clock.advance(0)
        return accepted

    def declined(self, at: Place, wanted: Order | None = None) -> str:
        failure = self.failureResultOf(
            Deferred.fromCoroutine(at.server.build(order() if wanted is None else wanted)), Declined
        )
        return str(failure.value)

    def end(self, at: Place, seconds: float = 5.0) -> Ended:
        """Let time pass, and return the one end that was told."""
        at.pass_time(seconds)
        (told,) = at.link.told
        assert isinstance(told, Ended)
        return told


class TakingOrders(Case):
    def test_an_order_becomes_an_uploaded_artifact(self) -> None:
        """Sources are checked out, the commands run, the deliverables are packed, uploaded, and told."""
        at = place(script=[ending(), ending()])
        assert self.take(at) == Accepted(1, 1)
        at.pass_time()
        (done,) = at.link.told
        assert isinstance(done, Done)
        assert (done.build_id, done.epoch, done.digest, done.size) == (1, 1, "d" * 64, 1000)
        assert at.sources.asked == [("https://git.example/paint.git", COMMIT, 0)]
        assert [command.argv for command in at.commands.started] == [("make",), ("./check",)]
        assert at.workshop.packed == [("program",)]
        assert at.uploads.uploaded == [(f"{BASE}/uploads/1/1", "artifact-ticket", "/spool/1-1/artifact.zip")]
        assert at.workshop.cleared == [0]

    def test_commands_get_a_minimal_environment(self) -> None:
        """Nothing of the donor's own environment but the search path reaches a recipe's commands."""
        at = place(script=[ending(), ending()])
        self.take(at)
        assert at.commands.started[0].environment == {
            "PATH": "/usr/bin", "HOME": "/slots/0/home", "TMPDIR": "/slots/0/tmp", "LANG": "C.UTF-8", "TZ": "UTC",
            "SOURCE_DATE_EPOCH": "315532800",
        }  # fmt: skip

    def test_the_network_is_there_for_commands_that_fetch_and_has_ended_when_the_build_begins(self) -> None:
        def fetching(_: Wanted) -> Plan:
            return Plan([Command(["make"])], ["program"], fetch=[Command(["pip", "download"])], network=["pypi.org"])

        of = project(recipe=Recipe(3, fetching))
        at = place(of=of, script=[ending(), ending()], networked=frozenset({of.name}))
        self.take(at)
        at.pass_time()
        assert [command.argv for command in at.commands.started] == [("pip", "download"), ("make",)]
        assert ["https_proxy" in command.environment for command in at.commands.started] == [True, False]
        (network,) = at.commands.networks
        assert [host.name for host in network.hosts] == ["pypi.org"]
        assert network.closed_after == 1, "before the second command was started"
        refusing = place(of=of)
        self.take(refusing)
        refusing.pass_time()
        (told,) = refusing.link.told
        assert getattr(told, "end", None) is AttemptEnd.REFUSED
        assert not refusing.commands.started

    def test_as_many_builds_as_there_are_slots_run_at_once(self) -> None:
        """Each gets a slot of its own; one more is declined; a slot that became free is used again."""
        at = place(max_builds=2)
        self.take(at, order(1))
        self.take(at, order(2))
        assert self.declined(at, order(3)) == "busy: 2 of 2 builds are running"
        assert [slot for _, _, slot in at.sources.asked] == [0, 1]
        at.commands.started[0].end(FAILED)
        at.pass_time()
        self.take(at, order(3))
        assert at.sources.asked[-1][2] == 0

    def test_what_is_built_in_another_system_has_its_files_and_its_path(self) -> None:
        at = place(script=[ending(), ending()])
        (own,) = at.server.offered.offers
        platform = canonical({"os": "linux", "arch": "aarch64"})
        other = Offer(platform, OfferKind.EMULATED, (("CC", "gcc"), ("ROOT", "bookworm-arm64")))
        lacks = {"bookworm-arm64": {"paint": ("cmake", "ninja")}}
        at.server.offered = evolve(at.server.offered, offers=[own, other], lacking=lacks)
        wanted = order(platform=platform, kind=OfferKind.EMULATED)
        assert self.declined(at, wanted).startswith("bookworm-arm64 has no cmake, ninja: ")
        at.server.offered = evolve(at.server.offered, lacking={})
        self.take(at, wanted)
        at.pass_time()
        self.take(at, order(2))
        assert at.commands.roots == ["bookworm-arm64", ""]
        paths = [command.environment["PATH"] for command in at.commands.started]
        assert paths == ["/usr/local/bin:/usr/bin:/bin"] * 2 + ["/usr/bin"]

    def test_an_order_sent_twice_is_one_attempt(self) -> None:
        at = place()
        assert self.take(at) == self.take(at)
        assert len(at.commands.started) == 1

    def test_what_this_machine_does_not_know_is_declined_with_the_reason(self) -> None:
        """Every order is checked against this machine's own configuration before anything runs."""
        cases = {
            "not configured for project 'wood', only for paint": order(project="wood"),
            "has recipe 3 of paint, needs 4: update config.py": order(recipe_version=4),
            "does not offer this platform any more": order(platform=canonical({"os": "linux", "arch": "ppc"})),
            "'HEAD; rm -rf' is not the full id of a commit or revision": order(revision="HEAD; rm -rf"),
            "'r12@3' is not the full id of a commit or revision": order(revision="r12@3"),
            "'r0' is not the full id of a commit or revision": order(revision="r0"),
            "--colour: 'pink' is not one of red, blue": order(options=(("colour", "pink"),)),
            "describes the options of paint differently: update config.py or buildtool itself": order(options=()),
        }
        at = place()
        for reason, wanted in cases.items():
            assert self.declined(at, wanted) == reason
        assert self.declined(at, order(kind=OfferKind.CROSS)) == "does not offer this platform any more"
        assert at.server.running == 0

    def test_an_order_for_one_platform_of_a_range_is_built_with_the_tools_for_that(self) -> None:
        at = place(script=[ending(), ending()])
        made = order()
        newest = (("libc_version", "2.44"),)
        ranged = Offer(
            canonical({**dict(made.platform), "libc_version": "2.17"}), made.kind,
            (("CC", "zig cc -target x.{libc_version}"),), newest,
        )  # fmt: skip
        at.server.offered = evolve(at.server.offered, offers=(ranged,))
        for version, said in (("2.16", "offer this platform"), ("2.45", "offer this platform"), ("2.28", "")):
            wanted = evolve(made, platform=canonical({**dict(made.platform), "libc_version": version}))
            if said:
                assert said in self.declined(at, wanted)
            else:
                self.take(at, wanted)
        assert at.workshop.tools == [{"CC": "zig cc -target x.2.28"}]

    def test_full_ids_of_git_and_of_subversion_are_taken(self) -> None:
        at = place(max_builds=3)
        for number, revision in enumerate(("a" * 40, "b" * 64, "r4711"), 1):
            self.take(at, order(number, revision=revision))
        assert [commit for _, commit, _ in at.sources.asked] == ["a" * 40, "b" * 64, "r4711"]

    def test_a_source_that_there_is_not_is_declined(self) -> None:
        def nowhere(source: str) -> str:
            raise LookupError(f"no source {source!r}")

        at = place(of=project(path_to_url=nowhere))
        assert self.declined(at, order(source="x")) == "no source 'x'"

    def test_a_client_checker_says_no(self) -> None:
        """It sees the machine as it is now; its words are the reason, and the slot stays free."""

        def full(checked: Checked) -> str | None:
            return f"only {checked.machine['disk']} MiB, {checked.running} others run\nreally"

        at = place(checkers=(yes, full))
        with listening() as said:
            assert self.declined(at) == "only 10000 MiB, 0 others run really"
        assert at.server.running == 0
        assert said == ["build 1.1 of paint declined: only 10000 MiB, 0 others run really"]

    def test_a_client_checker_that_the_machine_lets_down_says_no(self) -> None:
        """It looks at the machine, so that may be why; another machine may do."""
        for error in (OSError("disk on fire"), MachineFault("disk on fire")):

            def broken(checked: Checked, error: Exception = error) -> str | None:
                raise error

            assert "disk on fire" in self.declined(place(checkers=(broken,)))

    def test_a_client_checker_or_mapping_that_is_wrong_ends_the_build_with_its_line(self) -> None:
        """Declining would offer the build again and again, everywhere, until it expires."""

        def broken(checked: Checked) -> str | None:
            return undefined_name  # type: ignore[name-defined, no-any-return] # noqa: F821 - a mistake of theirs

        def astray(source: str) -> str:
            return [][len(source)].no

        def mute(source: str) -> str:
            return ""

        line = broken.__code__.co_firstlineno + 1
        cases = {
            f"broken of paint raised NameError: name 'undefined_name' is not defined ({__file__}:{line})": place(
                checkers=(broken,)
            ),
            f"path_to_url of paint answered '' for '', not a URL ({__file__}:{mute.__code__.co_firstlineno})": place(
                of=project(path_to_url=mute)
            ),
        }
        for reason, at in cases.items():
            self.take(at)
            assert (self.end(at).end, self.end(at).reason) == (AttemptEnd.MISTAKEN, reason)
            assert at.sources.asked == []
        assert self.declined(place(of=project(path_to_url=astray))) == "list index out of range"

    def test_a_client_checker_that_answers_with_no_text_declines_with_whatever_it_is(self) -> None:
        class Mute:
            def __str__(self) -> str:
                raise OSError

            __repr__ = __str__

        for answer, said in ((True, "True"), (Mute(), "a Mute that cannot be written"), ("", "odd of paint says no")):

            def odd(checked: Checked, answer: object = answer) -> object:
                return answer

            assert self.declined(place(checkers=(odd,))) == said  # type: ignore[arg-type] # what people write

    def test_a_commit_that_the_origin_does_not_give_out_is_fetched_from_the_metaserver_if_it_has_it(self) -> None:
        at = place()
        self.take(at)

        async def fetch() -> None:
            assert at.sources.copy is not None
            await at.sources.copy(Path("copy"))

        self.failureResultOf(Deferred.fromCoroutine(fetch()), NotFound)
        at.link.source_ticket = "source-ticket"
        self.successResultOf(Deferred.fromCoroutine(fetch()))
        assert at.uploads.fetched == [(f"{BASE}/sources/1/1", "source-ticket", Path("copy"))]

        async def fetch_tags() -> None:
            assert at.sources.copy is not None
            await at.sources.copy(Path("tags"), SourcePart(SourceKind.TAGS, ("lib",)))

        self.successResultOf(Deferred.fromCoroutine(fetch_tags()))
        assert at.uploads.fetched[1][0] == f"{BASE}/sources/1/1/tags?inside=lib"

    def test_nothing_is_taken_without_a_session(self) -> None:
        at = place()
        at.server.disconnected("gone")
        assert self.declined(at) == "there is no session yet"


class WhoseFailure(Case):
    def test_a_command_that_fails_is_the_projects_failure(self) -> None:
        at = place(script=[FAILED])
        at.commands.output = b"program.c:1: error: no\n"
        self.take(at)
        told = self.end(at)
        assert (told.end, told.reason) == (AttemptEnd.FAILED, "build: exited with code 2")
        assert "program.c:1: error: no\n[build: exited with code 2 after 1.0 s]" in told.log_tail
        assert at.uploads.log.decode() == told.log_tail

    def test_a_missing_deliverable_is_the_projects_failure(self) -> None:
        at = place(script=[ending(), ending()])
        at.workshop.pack_error = DeliverableMissing("promised program, did not deliver")
        self.take(at)
        assert (self.end(at).end, at.link.told[0]) == (AttemptEnd.FAILED, at.link.told[0])
        assert self.end(at).reason == "promised program, did not deliver"

    def test_a_deliverable_that_cannot_be_packed_is_the_projects_failure(self) -> None:
        """A link out of the tree, or a line feed in a name, is there on every machine: none of them is to blame."""
        at = place(script=[ending(), ending()])
        at.workshop.pack_error = BadArchive("'program' cannot be packed: it is a link that leads out of the tree")
        self.take(at)
        told = self.end(at)
        assert (told.end, told.reason) == (AttemptEnd.MISTAKEN, str(at.workshop.pack_error))

    def test_programs_for_another_architecture_alone_are_the_projects_failure(self) -> None:
        """A recipe that forgets the cross compiler makes programs that run, but not where they are to."""
        at = place(script=[ending(), ending()])
        at.workshop.packed_files = (file_for("README"), file_for("bin/tally", elf(64, "big", 22)))
        self.take(at)
        told = self.end(at)
        assert told.end is AttemptEnd.FAILED
        assert told.reason.startswith(
            "'bin/tally' is for linux on s390x, and linux on x86_64 was asked for: does the rec"
        )

    def test_what_the_files_need_is_told_with_the_artifact(self) -> None:
        at = place(script=[ending(), ending()])
        at.workshop.packed_files = (file_for("README"), needing("2.17"), needing("2.9"))
        self.take(at)
        at.pass_time(5.0)
        (told,) = at.link.told
        assert isinstance(told, Done)
        assert told.need == (("libc_version", "2.17"),)

    def test_each_way_to_end_has_its_owner(self) -> None:
        """The table of docs/integrator.rst: what is the project's, what is the machine's."""
        missing = "cannot start 'make': no such program in PATH=/usr/bin"
        cases = {
            ending(None, "time limit", 9, "ran longer than its limit of 9 s"): AttemptEnd.FAILED,
            ending(None, "silence limit", 9, "wrote nothing for 9 s"): AttemptEnd.FAILED,
            ending(None, "exited", 9, "was ended by SIGKILL", signal=9): AttemptEnd.LIMITED,
            ending(None, "exited", 9, "was ended by SIGSEGV"): AttemptEnd.FAILED,
            ending(None, "not started", 0, missing): AttemptEnd.BROKEN,
        }
        for how, whose in cases.items():
            at = place(script=[how])
            self.take(at)
            assert self.end(at).end is whose, how

    def test_a_command_that_cannot_be_started_is_the_projects_or_the_machines_by_what_was_in_the_way(self) -> None:
        """What the tree holds, and the recipe says, is the project's; programs and limits are the machine's."""
        check, inner = Path("tree/check"), Path("tree/inner")
        made, machines = AttemptEnd.FAILED, AttemptEnd.BROKEN
        cases: list[tuple[str, int, tuple[Path, ...], AttemptEnd]] = [
            ("cc", errno.ENOENT, (Path("/usr/bin/cc"),), machines),
            ("cc", errno.ENOENT, (Path("/usr/bin/cc"), Path("tree/bin/cc")), machines),
            ("cc", errno.ENOENT, (Path("tree/bin/cc"),), made),
            ("cc", errno.EACCES, (Path("tree/bin/cc"),), made),
            ("cc", errno.EACCES, (Path("/usr/bin/cc"),), machines),
            ("cc", errno.E2BIG, (), made),
            ("cc", errno.EINVAL, (), made),
            ("c" * 300, errno.ENAMETOOLONG, (), made),
            ("cc", errno.EACCES, (inner,), made),
            ("cc", errno.ENOENT, (inner,), made),
            ("./check", errno.ENOENT, (check,), made),
            ("./check", errno.EACCES, (check,), made),
            ("./check", errno.ENOEXEC, (check,), made),
            ("./check", errno.EACCES, (), machines),  # nothing runs on a file system that is mounted noexec
            ("./check", errno.EMFILE, (), machines),
            ("./check", errno.ENOMEM, (), machines),
            ("./check", errno.EAGAIN, (), machines),
            ("cc", 0, (), machines),
        ]
        for program, number, where, whose in cases:
            places = tuple(Path("/srv") / place for place in where)
            end = ending(None, "not started", 0, "'its directory' is a name", obstacle=Obstacle(number, places))
            with pytest.raises(Stopped) as raised:
                judge_start(Command([program]), end, Path("/srv/tree"))
            assert raised.value.end is whose, (program, number, where)

    def test_the_reason_is_told_however_long_the_words_are_that_cannot_be_passed_on(self) -> None:
        end = ending(None, "not started", 0, "cannot start 'cc': too long", obstacle=Obstacle(errno.E2BIG))
        with pytest.raises(Stopped) as raised:
            judge_start(Command(["cc", "a" * 200_000]), end, Path("/srv/tree"))
        assert brief(raised.value.reason).endswith("...: cannot start 'cc': too long")

    def test_a_program_of_the_tree_that_is_missing_is_the_projects_failure(self) -> None:
        """The build made nothing, so ``./check`` is not there: that says nothing about the machine."""
        missing = Obstacle(errno.ENOENT, (Path("tree/check"),))
        at = place(
            script=[ending(), ending(None, "not started", 0, "cannot start './check': no such file", obstacle=missing)]
        )
        self.take(at)
        assert self.end(at).end is AttemptEnd.FAILED

    def test_the_donors_limit_is_the_machines_when_it_is_the_nearer(self) -> None:
        """Both limits count all commands of a build together."""
        over = ending(None, "time limit", 50, "ran longer than its limit")
        for donor, whose in ((60.0, AttemptEnd.LIMITED), (9000.0, AttemptEnd.FAILED)):
            at = place(script=[ending(seconds=10), over], time_limit=donor, of=project(time_limit=100.0))
            self.take(at)
            assert self.end(at).end is whose
            assert f"the build took longer than {min(donor, 100.0):g} s" in self.end(at).reason
            assert f"the build took longer than {min(donor, 100.0):g} s" in self.end(at).log_tail
            assert [c.time_limit for c in at.commands.started] == [min(donor, 100.0), min(donor, 100.0) - 10]

    def test_output_that_names_a_machine_fault_is_the_machines(self) -> None:
        at = place(script=[FAILED])
        at.commands.output = b"printer: out of paper\n"
        self.take(at)
        told = self.end(at)
        assert told.end is AttemptEnd.BROKEN
        assert told.reason == "build: exited with code 2, and its output says 'out of paper'"

    def test_what_fails_outside_of_the_commands_is_the_machines(self) -> None:
        for error in (RepositoryUnreachable("no route"), MachineFault("no disk")):
            at = place()
            at.sources.error = error
            self.take(at)
            assert (self.end(at).end, self.end(at).reason) == (AttemptEnd.BROKEN, str(error))
        at = place()
        at.workshop.prepare_error = MachineFault("cannot prepare /slots: No space left on device")
        self.take(at)
        assert self.end(at).end is AttemptEnd.BROKEN

    def test_a_recipe_says_whose_fault_it_is_by_what_it_raises(self) -> None:
        """MachineFault is the machine's, BuildFailed the project's; anything else is a mistake of the recipe."""
        for error, whose in (
            (MachineFault("needs a printer"), AttemptEnd.BROKEN),
            (BuildFailed("red does not exist before 2.0"), AttemptEnd.FAILED),
            (MemoryError(), AttemptEnd.LIMITED),
            (KeyError("CC"), AttemptEnd.MISTAKEN),
            (OSError(2, "no such file"), AttemptEnd.MISTAKEN),
            (SystemExit(3), AttemptEnd.MISTAKEN),
            (KeyboardInterrupt(), AttemptEnd.MISTAKEN),
            (GeneratorExit(), AttemptEnd.MISTAKEN),
            (RecursionError(), AttemptEnd.MISTAKEN),
            (CancelledError(), AttemptEnd.MISTAKEN),
            (BaseExceptionGroup("several", [SystemExit(), KeyboardInterrupt()]), AttemptEnd.MISTAKEN),
            (Unsayable(ValueError()), AttemptEnd.MISTAKEN),
            (Unsayable(SystemExit()), AttemptEnd.MISTAKEN),
            (Unavailable("no"), AttemptEnd.MISTAKEN),
        ):

            def raises(wanted: Wanted, error: BaseException = error) -> Plan:
                raise error

            at = place(of=project(recipe=Recipe(3, raises)))
            self.take(at)
            told = self.end(at)
            assert told.end is whose, error
            assert whose is not AttemptEnd.MISTAKEN or f"{__file__}:" in told.reason

    def test_an_answer_that_raises_when_it_is_looked_at_ends_the_build_as_the_projects(self) -> None:
        """Whatever it is, an end is told, and the slot is free again."""

        class Lying:
            def __getattribute__(self, name: str) -> object:  # as some proxies do
                raise SystemExit(3)

        class Text(str):
            __slots__ = ()

            def __len__(self) -> int:
                raise KeyboardInterrupt

        for answer in (Lying(), Plan([Command(["make"], name=Text("build"))], ["program"])):
            at = place(of=project(recipe=Recipe(3, lambda _, answer=answer: answer)))  # type: ignore[misc]
            self.take(at)
            told = self.end(at)
            assert told.end is AttemptEnd.MISTAKEN
            assert "what the recipe of paint answered with raised" in told.reason
            self.take(at, order(build_id=2))

    def test_a_recipe_that_is_wrong_is_named_with_the_last_line_of_theirs(self) -> None:
        """Also where what raised is this program's own check of what they made."""

        def no_deliverable(wanted: Wanted) -> Plan:
            return Plan([Command(["make"])], deliverables=["*.h"])

        def no_plan(wanted: Wanted) -> Plan:
            return ["make"]  # type: ignore[return-value] # a mistake of theirs

        first = no_deliverable.__code__.co_firstlineno
        reasons = {
            no_deliverable: "the recipe of paint: a deliverable is the name of one file or directory, "
            f"which '*.h' is not ({__file__}:{first + 1})",
            no_plan: f"the recipe of paint answered with a list, not with a Plan ({__file__}:{first + 3})",
        }
        for plan, reason in reasons.items():
            at = place(of=project(recipe=Recipe(3, plan)))
            self.take(at)
            assert (self.end(at).end, self.end(at).reason) == (AttemptEnd.MISTAKEN, reason)

    def test_a_recipe_or_mapping_that_never_answers_is_the_projects_and_stops_nothing_else(self) -> None:
        """It has a thread and twenty seconds; who stops the build meanwhile need not wait for that."""
        for pool, stopped in ((Asleep({"plan"}), False), (Asleep({"plan"}), True), (Asleep({"<lambda>"}), False)):
            at = place(pool=pool)
            taken = Deferred.fromCoroutine(at.server.build(order()))
            at.pass_time(1)
            if stopped:
                self.successResultOf(Deferred.fromCoroutine(at.server.abort(AbortOrder(1, 1, "enough"))))
            at.pass_time(0 if stopped else RECIPE_PATIENCE)
            self.successResultOf(taken)
            told = self.end(at)
            if stopped:
                assert (told.end, told.reason) == (AttemptEnd.ABORTED, "enough")
            else:
                assert told.end is AttemptEnd.MISTAKEN
                assert "of paint has not answered within " in told.reason

    def test_a_machine_that_lacks_a_program_of_the_platform_will_not_do(self) -> None:
        """Another machine may have it, and this one is not broken; a name that no machine could have is a mistake."""
        for role, whose in (("CC", None), ("NM", AttemptEnd.REFUSED), ("GCC", AttemptEnd.MISTAKEN)):

            def asks(wanted: Wanted, role: str = role) -> Plan:
                return Plan([Command([wanted.tools[role]])], ["program"])

            at = place(of=project(recipe=Recipe(3, asks)), script=[ending()])
            self.take(at)
            at.pass_time()
            (told,) = at.link.told
            assert getattr(told, "end", None) is whose

    def test_a_defect_of_the_build_server_ends_the_attempt_too(self) -> None:
        """Nothing of it but that it happened is told; the details are in the build server's own log."""

        class Odd(Exception):
            pass

        at = place()
        at.sources.hold = Deferred()
        self.take(at)
        at.sources.hold.errback(Odd("secret path"))
        told = self.end(at)
        assert told.end is AttemptEnd.BROKEN
        assert "secret" not in told.reason
        assert len(self.flushLoggedErrors(Odd)) == 1
        assert at.server.running == 0

    def test_an_artifact_over_the_limit_is_the_projects_failure(self) -> None:
        at = place(script=[ending(), ending()], of=project(artifact_limit=999))
        self.take(at)
        assert self.end(at).end is AttemptEnd.FAILED
        assert self.end(at).reason == "the artifact has more than the 999 bytes that are allowed"

    def test_packing_counts_towards_the_time_limits_and_is_told_as_they_were_given(self) -> None:
        """A deliverable of a terabyte that takes no disk would hold the slot for hours."""
        for donor, whose, said in (
            (30.0, AttemptEnd.LIMITED, "packing: the build took longer than 30 s (the limit of this machine's owner)"),
            (None, AttemptEnd.FAILED, "packing: the build took longer than 100 s (the project's time limit)"),
        ):
            at = place(script=[ending(seconds=20), ending()], time_limit=donor, of=project(time_limit=100.0))
            at.workshop.packing = Deferred()
            self.take(at)
            at.pass_time(100.0)
            assert at.link.told == []
            at.workshop.packing.callback(None)
            told = self.end(at)
            assert (told.end, told.reason) == (whose, said)

    def test_an_attempt_that_is_stopped_while_it_packs_ends_as_soon_as_that_has_noticed(self) -> None:
        at = place(script=[ending(), ending()])
        at.workshop.packing = Deferred()
        self.take(at)
        self.successResultOf(Deferred.fromCoroutine(at.server.abort(AbortOrder(1, 1, "nobody waits"))))
        at.workshop.packing.callback(None)
        assert (self.end(at).end, self.end(at).reason) == (AttemptEnd.ABORTED, "nobody waits")
        assert at.workshop.cleared == [0]

    def test_a_machine_that_is_taken_back_does_not_wait_until_its_slots_are_empty(self) -> None:
        """A million files take a while to delete; what is left goes before the slot is used again."""
        at = place()
        self.take(at)
        leaving = Deferred.fromCoroutine(at.server.hand_back("SIGTERM"))
        at.commands.started[0].end(ending(None, "stopped", 1.0, "stopped"))
        at.pass_time()
        self.successResultOf(leaving)
        assert at.workshop.cleared == []


class Uploading(Case):
    def test_an_upload_is_tried_again(self) -> None:
        """Lost connections and bytes that arrived wrong are tried again; an expired ticket is renewed first."""
        at = place(script=[ending(), ending()])
        at.uploads.errors = [Unavailable("reset"), BadTicket("expired"), BadUpload("wrong digest")]
        self.take(at)
        at.pass_time(20)
        assert isinstance(at.link.told[0], Done)
        assert at.uploads.uploaded[0][1] == "artifact-ticket-1"

    def test_an_upload_is_tried_for_as_long_as_it_takes(self) -> None:
        """A transfer port that is away, or a disk that is full there, costs hours perhaps, but not the artifact."""
        for error in (Unavailable("reset"), StorageUnavailable("the disk is full")):
            at = place(script=[ending(), ending()])
            at.uploads.errors = [error] * 1000
            self.take(at)
            at.pass_time(7200, 5)
            assert (at.link.told, at.server.running) == ([], 0)
            at.uploads.errors = []
            at.pass_time(20)
            assert isinstance(at.link.told[0], Done)

    def test_a_defect_while_delivering_is_logged_and_the_next_try_is_made(self) -> None:
        """Only what is meant to end it ends it: people wait for what was built."""
        for where in ("uploads", "link"):
            at = place(script=[ending(), ending()])
            broken: list[Exception] = [ValueError("not foreseen"), LookupError("nor this"), CancelledError()]
            getattr(at, where).errors = broken
            self.take(at)
            at.pass_time(60)
            assert isinstance(at.link.told[0], Done)
            assert not broken
            assert len(self.flushLoggedErrors()) == 3

    def test_an_upload_that_always_arrives_wrong_is_the_machines_failure(self) -> None:
        at = place(script=[ending(), ending()])
        at.uploads.errors = [BadUpload("wrong digest")] * 1000
        self.take(at)
        told = self.end(at, 60)
        assert (told.end, told.reason) == (AttemptEnd.BROKEN, "the artifact cannot be uploaded: wrong digest")
        assert at.spool.kept == {}

    def test_an_upload_is_offered_again_with_its_end(self) -> None:
        """A metaserver that could not publish it may have thrown it away, or says so itself."""
        for error in (StorageUnavailable("disk full"), BadUpload("nothing was uploaded: send the file")):
            at = place(script=[ending(), ending()])
            at.link.errors = [error]
            self.take(at)
            at.pass_time(10)
            assert (len(at.uploads.uploaded), [type(told) for told in at.link.told]) == (2, [Done])

    def test_what_the_metaserver_finds_too_long_is_the_projects_failure(self) -> None:
        at = place(script=[ending(), ending()])
        at.uploads.errors = [TooLong("at most 5 bytes")]
        self.take(at)
        assert self.end(at).end is AttemptEnd.FAILED

    def test_the_end_is_told_again_while_the_metaserver_cannot_store_it(self) -> None:
        at = place(script=[ending(), ending()])
        at.link.errors = [StorageUnavailable("disk full"), StorageUnavailable("disk full")]
        self.take(at)
        at.pass_time(10)
        assert isinstance(at.link.told[0], Done)

    def test_an_artifact_that_is_not_taken_ends_the_attempt(self) -> None:
        """A broken upload that shows only at publishing is the machine's failure, not silence."""
        cases: tuple[list[BuildToolError], ...] = ([BadUpload("wrong digest")] * WRONG, [UsageError("a wrong name")])
        for errors in cases:
            at = place(script=[ending(), ending()])
            at.link.errors = list(errors)
            self.take(at)
            told = self.end(at, 60)
            assert (told.end, told.reason) == (AttemptEnd.BROKEN, f"the artifact was not taken: {errors[0]}")


class Stopping(Case):
    def test_an_abort_is_told_when_the_processes_are_gone(self) -> None:
        """The running command is told to go; until it is gone nothing is told and the slot is not free."""
        at = place()
        self.take(at)
        assert self.successResultOf(Deferred.fromCoroutine(at.server.abort(AbortOrder(1, 1, "nobody waits")))) == Ok()
        at.pass_time()
        assert at.commands.started[0].stopped == ["nobody waits"]
        assert (at.link.told, at.server.running) == ([], 1)
        at.commands.started[0].end(ending(None, "stopped", 1, "nobody waits"))
        told = self.end(at)
        assert (told.end, told.reason, at.server.running) == (AttemptEnd.ABORTED, "nobody waits", 0)

    def test_an_abort_during_checkout_starts_no_command(self) -> None:
        at = place()
        at.sources.hold = Deferred()
        self.take(at)
        Deferred.fromCoroutine(at.server.abort(AbortOrder(1, 1, "enough")))
        at.sources.hold.callback(None)
        assert self.end(at).end is AttemptEnd.ABORTED
        assert at.commands.started == []

    def test_an_abort_during_an_upload_breaks_it_off(self) -> None:
        at = place(script=[ending(), ending()])
        at.uploads.errors = [Unavailable("reset")] * 1000
        self.take(at)
        Deferred.fromCoroutine(at.server.abort(AbortOrder(1, 1, "enough")))
        assert self.end(at).end is AttemptEnd.ABORTED

    def test_an_abort_of_what_does_not_run_is_stale(self) -> None:
        at = place()
        assert self.successResultOf(Deferred.fromCoroutine(at.server.abort(AbortOrder(7, 1, "?")))) == Ok(stale=True)

    def test_an_abort_while_the_checkers_look_around_declines_the_order(self) -> None:
        at = place(checkers=(yes,))
        at.workshop.hold = Deferred()
        taking = Deferred.fromCoroutine(at.server.build(order()))
        Deferred.fromCoroutine(at.server.abort(AbortOrder(1, 1, "enough")))
        at.workshop.hold.callback(None)
        assert str(self.failureResultOf(taking, Declined).value) == "enough"
        assert at.server.running == 0

    def test_handing_back_returns_every_build_and_takes_no_more(self) -> None:
        at = place(max_builds=2)
        self.take(at, order(1))
        self.take(at, order(2))
        leaving = Deferred.fromCoroutine(at.server.hand_back("the owner needs the machine"))
        assert self.declined(at, order(3)) == "the owner needs the machine"
        at.commands.started[0].end(ending(None, "stopped", 1, ""))
        at.pass_time()
        self.assertNoResult(leaving)
        at.commands.started[1].end(ending(None, "stopped", 1, ""))
        at.pass_time()
        self.successResultOf(leaving)
        assert {told.end for told in at.link.told if isinstance(told, Ended)} == {AttemptEnd.RETURNED}
        assert len(at.link.told) == 2

    def test_handing_back_and_draining_wait_for_no_checker_that_hangs(self) -> None:
        for leave in (lambda at: at.server.hand_back("bye"), lambda at: at.server.drain("bye")):
            at = place(checkers=(yes,))
            at.workshop.hold = Deferred()
            taking = Deferred.fromCoroutine(at.server.build(order()))
            self.successResultOf(Deferred.fromCoroutine(leave(at)))
            at.workshop.hold.callback(None)
            assert str(self.failureResultOf(taking, Declined).value) == "bye"

    def test_a_client_checker_that_hangs_keeps_no_slot(self) -> None:
        at = place(checkers=(yes,), pool=Asleep({"yes"}))
        taking = Deferred.fromCoroutine(at.server.build(order()))
        at.clock.advance(CHECKERS_PATIENCE)
        assert "does not answer here" in str(self.failureResultOf(taking, Declined).value)
        assert at.server.running == 0

    def test_handing_back_nothing_is_done_at_once(self) -> None:
        at = place()
        self.successResultOf(Deferred.fromCoroutine(at.server.hand_back("bye")))


def keys(at: Place) -> dict[tuple[int, int], HeldState]:
    """What a build server says that it has."""
    held = at.server.held()
    assert len({one.key for one in held}) == len(held), "each Attempt is there once"
    return {one.key: one.state for one in held}


BUILDING, DONE, ENDED = HeldState.BUILDING, HeldState.DONE, HeldState.ENDED
GO_ON, DELIVER, DROP = Verdict.GO_ON, Verdict.DELIVER, Verdict.DROP
STOPPED = ending(None, "stopped", 1, "")


class WithoutTheMetaserver(Case):
    def test_a_build_goes_on_while_the_connection_is_lost_and_is_delivered_when_it_is_back(self) -> None:
        at = place()
        self.take(at)
        at.lose()
        assert at.commands.started[0].stopped == []
        assert keys(at) == {(1, 1): BUILDING}
        at.pass_time(100)
        at.connect(2, [HeldVerdict(1, 1, GO_ON)])
        at.commands.script = [ending()]
        at.commands.started[0].end()
        at.pass_time()
        assert [type(told) for told in at.link.told] == [Done]
        assert keys(at) == {}
        assert at.spool.kept == {}

    def test_what_ends_while_the_connection_is_lost_waits_on_disk_and_leaves_its_slot(self) -> None:
        """An artifact and a failure alike: offered only when there is a connection, and then at once."""
        at = place(max_builds=2)
        self.take(at, order(1))
        self.take(at, order(2))
        at.lose()
        at.commands.script = [ending()]
        at.commands.started[0].end()
        at.commands.started[1].end(FAILED)
        at.pass_time(3600, 10)
        assert keys(at) == {(1, 1): DONE, (2, 1): ENDED}
        assert set(at.spool.kept) == {(1, 1), (2, 1)}
        assert (at.server.running, at.link.told, at.uploads.uploaded) == (0, [], [])
        at.connect(2, [HeldVerdict(1, 1, DELIVER), HeldVerdict(2, 1, DELIVER)])
        at.pass_time(0.25)
        assert sorted(told.build_id for told in at.link.told) == [1, 2]
        assert (keys(at), at.spool.kept) == ({}, {})

    def test_an_end_is_on_disk_before_it_is_offered(self) -> None:
        """While the disk still writes, the Attempt builds as far as anybody hears, and keeps its slot."""
        at = place(script=[ending(), ending()])
        at.spool.hold = Deferred()
        self.take(at)
        at.pass_time()
        assert (keys(at), at.server.running) == ({(1, 1): BUILDING}, 1)
        assert (at.link.told, at.uploads.uploaded, at.workshop.cleared) == ([], [], [])
        at.spool.hold.callback(None)
        at.pass_time()
        assert (len(at.link.told), at.workshop.cleared) == (1, [0])

    def test_the_slot_is_free_when_the_end_is_told(self) -> None:
        """The answer may bring the next order with it."""
        at = place(script=[FAILED])
        running: list[int] = []
        at.link.when_told = lambda: running.append(at.server.running)
        self.take(at)
        at.pass_time()
        assert running == [0]

    def test_why_something_is_not_delivered_is_said_once_for_each_reason(self) -> None:
        at = place(script=[FAILED])
        full = StorageUnavailable("the disk is full")
        at.link.errors = [*[full] * 9, StorageUnavailable("the database is locked")]
        with listening() as said:
            self.take(at)
            at.pass_time(200)
        assert len(at.link.told) == 1
        assert [line for line in said if "not delivered" in line] == [
            "build 1.1 is not delivered yet: the disk is full",
            "build 1.1 is not delivered yet: the database is locked",
        ]

    def test_what_waits_for_the_metaserver_is_said_and_that_it_went(self) -> None:
        at = place()
        with listening() as said:
            self.take(at)
            at.lose()
            at.commands.started[0].end(FAILED)
            at.pass_time(20)
            assert "build 1.1 is not delivered yet: there is no connection to the metaserver" in said
            at.connect(2, [HeldVerdict(1, 1, DELIVER)])
            at.pass_time(20)
        assert "build 1.1 is delivered now" in said

    def test_a_build_server_that_is_started_again_delivers_what_it_finds(self) -> None:
        """It says so at its login; it has no ticket any more, and asks for one."""
        before = place(max_builds=2)
        self.take(before, order(1))
        self.take(before, order(2))
        before.lose()
        before.commands.script = [ending()]
        before.commands.started[0].end()
        before.commands.started[1].end(FAILED)
        before.pass_time()
        at = place(spool=before.spool, session=0)
        assert keys(at) == {(1, 1): DONE, (2, 1): ENDED}
        at.pass_time(600)
        at.connect(7, [HeldVerdict(1, 1, DELIVER), HeldVerdict(2, 1, DELIVER)])
        at.pass_time()
        assert at.uploads.uploaded == [(f"{BASE}/uploads/1/1", "artifact-ticket-1", "/spool/1-1/artifact.zip")]
        assert sorted(told.build_id for told in at.link.told) == [1, 2]
        assert at.spool.kept == {}

    def test_a_metaserver_that_dies_before_it_answers_is_offered_all_of_it_again(self) -> None:
        """The one that is started again may have lost the bytes of the upload."""
        at = place(script=[ending(), ending()])
        at.link.errors = [Unavailable("no answer to 'done'")]
        self.take(at)
        at.lose()
        at.pass_time(30)
        assert keys(at) == {(1, 1): DONE}
        at.connect(2, [HeldVerdict(1, 1, DELIVER)])
        at.pass_time()
        assert (len(at.uploads.uploaded), len(at.link.told), at.spool.kept) == (2, 1, {})

    def test_an_end_that_came_too_late_is_forgotten_like_any_other(self) -> None:
        at = place(script=[FAILED])
        at.link.stale = True
        self.take(at)
        at.pass_time()
        assert (len(at.link.told), keys(at), at.spool.kept) == (1, {}, {})

    def test_the_rest_of_the_log_comes_before_the_end(self) -> None:
        """Also after hours without a metaserver."""
        at = place()
        at.commands.output = b"hello\n"
        self.take(at)
        at.lose()
        at.uploads.log_errors = [Unavailable("away")] * 10_000
        at.commands.started[0].end(FAILED)
        at.pass_time(3600, 5)
        at.uploads.log_errors = []
        at.connect(2, [HeldVerdict(1, 1, DELIVER)])
        at.pass_time()
        (told,) = at.link.told
        assert at.uploads.log.decode() == told.log_tail
        assert b"hello\n[build: exited with code 2" in at.uploads.log

    def test_a_log_that_was_cut_off_by_a_lost_connection_is_sent_in_the_next_session(self) -> None:
        """Patience is for a metaserver that is there and does not take it."""
        at = place(script=[FAILED])
        at.uploads.log_errors = [Unavailable("away")] * 10_000
        self.take(at)
        at.pass_time(10)
        at.lose()
        at.pass_time(600)
        at.uploads.log_errors = []
        at.connect(2)
        at.pass_time()
        (told,) = at.link.told
        assert at.uploads.log.decode() == told.log_tail

    def test_a_log_that_is_not_taken_does_not_keep_the_end_back_for_ever(self) -> None:
        at = place(script=[FAILED])
        at.uploads.log_errors = [StorageUnavailable("no room for logs")] * 10_000
        self.take(at)
        assert self.end(at, 60).end is AttemptEnd.FAILED

    def test_an_order_that_is_sent_again_is_accepted_again_whatever_became_of_it(self) -> None:
        at = place()
        self.take(at)
        at.lose()
        at.connect(2)
        assert self.take(at) == Accepted(1, 1)
        at.lose()
        at.commands.started[0].end(FAILED)
        at.pass_time()
        at.link.errors = [StorageUnavailable("full")] * 1000
        at.connect(3)
        assert self.take(at) == Accepted(1, 1)
        assert len(at.commands.started) == 1

    def test_an_order_of_an_older_session_is_declined(self) -> None:
        """The client checkers looked around while the connection was lost and made again."""
        at = place(checkers=(yes,))
        at.workshop.hold = Deferred()
        taking = Deferred.fromCoroutine(at.server.build(order()))
        assert keys(at) == {}
        at.lose()
        at.connect(2)
        assert "still being looked at" in self.declined(at)
        at.workshop.hold.callback(None)
        assert str(self.failureResultOf(taking, Declined).value) == "the session has ended"
        at.workshop.hold = None
        self.take(at)

    def test_a_full_disk_makes_an_artifact_the_machines_failure_and_keeps_no_end_back(self) -> None:
        for script, end in (([ending(), ending()], AttemptEnd.BROKEN), ([FAILED], AttemptEnd.FAILED)):
            at = place(script=script)
            at.spool.error = MachineFault("the disk is full")
            self.take(at)
            assert self.end(at).end is end
            assert at.server.running == 0

    def test_a_disk_that_fails_later_keeps_no_end_back_and_is_told_in_a_line(self) -> None:
        """Where an artifact turns out not to be wanted, and where what was delivered is to be deleted."""
        at = place(script=[ending(), ending()])
        at.uploads.slow, at.uploads.errors = Deferred(), [TooLong("at most 5 bytes")]
        self.take(at)
        at.pass_time()
        at.spool.error = at.spool.stuck = MachineFault("the disk is full")
        with listening() as said:
            at.uploads.slow.callback(None)
            assert self.end(at).end is AttemptEnd.FAILED
        assert "the end of build 1 is not kept: the disk is full" in said
        assert "what was delivered is not deleted: the disk is full" in said
        assert keys(at) == {}
        self.take(at, order(2))

    def test_no_more_is_begun_when_too_much_waits_for_the_metaserver(self) -> None:
        """By number and by size; what runs already is finished and kept all the same."""
        for room in (SpoolLimits(ends=1), SpoolLimits(size=1000)):
            at = place(max_builds=2, room=room)
            self.take(at, order(1))
            self.take(at, order(2))
            at.link.errors = [StorageUnavailable("the disk is full")] * 5
            at.commands.script = [ending()]
            at.commands.started[0].end()
            assert self.declined(at, order(3)) == (
                "too much waits here until the metaserver takes it: "
                f"1 of {room.ends} finished builds, 1000 of {room.size} bytes"
            )
            at.pass_time(60)
            self.take(at, order(3))


class Verdicts(Case):
    def test_a_dropped_build_is_stopped_and_told_when_its_processes_are_gone(self) -> None:
        """At a login and at a heartbeat alike."""
        for login in (True, False):
            at = place()
            self.take(at)
            verdicts = [
                HeldVerdict(1, 1, DROP, "it was built elsewhere"),
                HeldVerdict(9, 9, DROP),
                HeldVerdict(9, 8, GO_ON),
            ]
            if login:
                at.lose()
                at.connect(2, verdicts)
            else:
                at.server.judged(verdicts)
            assert at.commands.started[0].stopped == ["it was built elsewhere"]
            assert keys(at) == {(1, 1): BUILDING}
            at.commands.started[0].end(STOPPED)
            told = self.end(at)
            assert (told.end, told.reason) == (AttemptEnd.ABORTED, "it was built elsewhere")
            assert at.spool.kept == {}

    def test_a_dropped_artifact_is_deleted_and_not_delivered(self) -> None:
        at = place(script=[ending(), ending()])
        at.lose()
        at.server.connected(Welcome(2, BASE, 10_000_000, 1_000_000, 60.0))
        at.link.away = True
        self.take(at)
        at.pass_time()
        assert keys(at) == {(1, 1): DONE}
        at.connect(3, [HeldVerdict(1, 1, DROP, "somebody else was faster")])
        at.pass_time()
        assert (at.link.told, at.spool.kept, keys(at)) == ([], {}, {})

    def test_an_upload_that_is_dropped_is_broken_off(self) -> None:
        at = place(script=[ending(), ending()])
        at.uploads.slow = Deferred()
        self.take(at)
        at.server.judged([HeldVerdict(1, 1, DROP)])
        at.pass_time()
        assert (at.link.told, at.spool.kept, keys(at)) == ([], {}, {})

    def test_what_is_to_be_delivered_is_tried_at_once(self) -> None:
        """Whatever pause the last failure has made."""
        at = place(script=[ending(), ending()])
        at.uploads.errors = [Unavailable("reset")] * 1000
        self.take(at)
        at.pass_time(16)
        at.uploads.errors = []
        at.server.judged([HeldVerdict(1, 1, DELIVER)])
        assert isinstance(at.link.told[0], Done)

    def test_a_new_session_ends_every_pause(self) -> None:
        at = place(script=[ending(), ending()])
        at.uploads.errors = [Unavailable("reset")] * 1000
        self.take(at)
        at.pass_time(16)
        at.uploads.errors = []
        at.lose()
        at.connect(2)
        assert isinstance(at.link.told[0], Done)

    def test_what_was_taken_is_not_held_any_more_while_it_is_deleted(self) -> None:
        """A heartbeat that named it would be told to drop it."""
        at = place(script=[FAILED])
        at.spool.slow = Deferred()
        self.take(at)
        at.pass_time()
        assert (len(at.link.told), keys(at), set(at.spool.kept)) == (1, {}, {(1, 1)})
        at.spool.slow.callback(None)
        assert at.spool.kept == {}

    def test_an_abort_that_crosses_the_end_is_told_instead_of_the_artifact(self) -> None:
        at = place(script=[ending(), ending()])
        at.spool.hold = Deferred()
        self.take(at)
        assert self.successResultOf(Deferred.fromCoroutine(at.server.abort(AbortOrder(1, 1, "enough")))) == Ok()
        hold, at.spool.hold = at.spool.hold, None
        at.uploads.slow = Deferred()
        hold.callback(None)
        assert self.end(at).end is AttemptEnd.ABORTED


class Leaving(Case):
    def drain(self, at: Place) -> Deferred[None]:
        return Deferred.fromCoroutine(at.server.drain("the owner wants the machine at noon"))

    def test_draining_takes_no_more_finishes_delivers_and_ends(self) -> None:
        at = place(max_builds=2)
        self.take(at)
        draining = self.drain(at)
        assert at.link.drained == ["the owner wants the machine at noon"]
        assert self.declined(at, order(2)) == "the owner wants the machine at noon"
        assert at.commands.started[0].stopped == []
        at.uploads.errors = [Unavailable("reset")]
        at.commands.script = [ending()]
        at.commands.started[0].end()
        self.assertNoResult(draining)
        at.pass_time()
        self.successResultOf(draining)
        assert isinstance(at.link.told[0], Done)

    def test_draining_nothing_ends_at_once(self) -> None:
        self.successResultOf(self.drain(place()))

    def test_draining_is_said_again_after_the_next_login(self) -> None:
        at = place()
        self.take(at)
        at.lose()
        draining = self.drain(at)
        assert at.link.drained == []
        at.connect(2, [HeldVerdict(1, 1, GO_ON)])
        assert len(at.link.drained) == 1
        at.lose()
        at.commands.started[0].end(FAILED)
        at.pass_time(100)
        self.assertNoResult(draining)
        at.connect(3, [HeldVerdict(1, 1, DELIVER)])
        assert len(at.link.drained) == 2
        at.pass_time()
        self.successResultOf(draining)

    def test_draining_is_said_again_while_it_cannot_be_stored(self) -> None:
        at = place()
        self.take(at)
        at.link.errors = [StorageUnavailable("full")]
        self.drain(at)
        assert at.link.drained == []
        at.pass_time(10)
        assert len(at.link.drained) == 1

    def test_who_drains_may_still_hand_back(self) -> None:
        at = place()
        self.take(at)
        self.drain(at)
        leaving = Deferred.fromCoroutine(at.server.hand_back("now"))
        at.commands.started[0].end(STOPPED)
        assert self.end(at).end is AttemptEnd.RETURNED
        self.successResultOf(leaving)

    def test_handing_back_without_a_connection_leaves_the_ends_on_disk(self) -> None:
        """Whatever was finished, and that the rest is returned, is told after the next start."""
        at = place(max_builds=2)
        self.take(at, order(1))
        self.take(at, order(2))
        at.lose()
        at.commands.script = [ending()]
        at.commands.started[0].end()
        at.pass_time()
        leaving = Deferred.fromCoroutine(at.server.hand_back("bye"))
        at.commands.started[1].end(STOPPED)
        at.pass_time(0.25)
        self.successResultOf(leaving)
        assert isinstance(at.spool.kept[1, 1].end, Done)
        later = place(spool=at.spool)
        later.pass_time()
        ends = {told.build_id: told.end if isinstance(told, Ended) else None for told in later.link.told}
        assert ends == {1: None, 2: AttemptEnd.RETURNED}

    def test_what_is_not_taken_in_time_stays_on_disk(self) -> None:
        """A program that is told to stop waits for an upload, but not for ever; nothing of it goes on after that."""
        at = place(script=[ending(), ending()])
        at.uploads.slow = Deferred()
        self.take(at)
        leaving = Deferred.fromCoroutine(at.server.hand_back("bye"))
        at.pass_time(5)
        self.assertNoResult(leaving)
        at.pass_time(LEAVING)
        self.successResultOf(leaving)
        at.uploads.slow.callback(None)
        at.pass_time()
        assert (at.link.told, set(at.spool.kept)) == ([], {(1, 1)})
        assert at.clock.getDelayedCalls() == []


texts = st.text(max_size=600)

DESCRIBED = frozenset({"os", "arch"})


@given(texts)
def test_a_reason_is_one_printable_line_of_bounded_length(reason: str) -> None:
    line = brief(reason)
    assert line.isprintable()
    assert len(line) <= 500


@given(
    name=st.from_regex(r"[A-Za-zäü0-9_-]{1,40}", fullmatch=True),
    first=st.sampled_from(["red", "blue"]),
    second=st.sampled_from(["red", "blue"]),
)
def test_artifact_names_are_plain_and_differ_where_the_inputs_do(name: str, first: str, second: str) -> None:
    one = artifact_name(order(project=name, options=(("colour", first),)), DESCRIBED)
    other = artifact_name(order(project=name, options=(("colour", second),)), DESCRIBED)
    assert (one == other) == (first == second)
    assert len(one) <= ARTIFACT_NAME_LIMIT
    assert Path(one).name == one
    assert one.isascii()
    assert one.endswith(".zip")


def test_an_artifact_is_named_after_project_revision_and_platform() -> None:
    assert artifact_name(order(), DESCRIBED).startswith("paint-0123456789ab-linux-x86_64-")


@given(st.sampled_from(["x86_64", "aarch64"]), st.sampled_from(["linux", "darwin"]))
def test_an_artifact_that_runs_anywhere_is_named_so_whatever_machine_made_it(arch: str, system: str) -> None:
    """A wheel, say: its project describes no property of a platform."""
    made = order(platform=canonical({"os": system, "arch": arch}))
    assert artifact_name(made, frozenset()) == artifact_name(order(), frozenset())
    assert artifact_name(made, frozenset()).startswith("paint-0123456789ab-any-")
    assert artifact_name(made, frozenset({"os"})).startswith(f"paint-0123456789ab-{system}-")
