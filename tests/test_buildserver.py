"""The build server's shell: what it takes, how it says whose failure it was, and that it always says an end."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from buildtool.attempt import artifact_name, brief
from buildtool.domain.model import ARTIFACT_NAME_LIMIT, AttemptEnd, OfferKind, canonical
from buildtool.errors import (
    BadArchive,
    BadTicket,
    BadUpload,
    BuildFailed,
    Declined,
    DeliverableMissing,
    MachineFault,
    RepositoryUnreachable,
    StorageUnavailable,
    TooLong,
    Unavailable,
)
from buildtool.project import Checked
from buildtool.protocol import AbortOrder, Accepted, Done, Ended, Ok, Order
from buildtool.recipes import Plan, Recipe, Wanted
from tests.fakes_build import BASE, COMMIT, FAILED, Exit, Place, order, place, project, yes
from tests.support.logs import listening


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
        at = place(script=[Exit(), Exit()])
        assert self.take(at) == Accepted(1, 1)
        at.pass_time()
        (done,) = at.link.told
        assert isinstance(done, Done)
        assert (done.build_id, done.epoch, done.digest, done.size) == (1, 1, "d" * 64, 1000)
        assert at.sources.asked == [("https://git.example/paint.git", COMMIT, 0)]
        assert [command.argv for command in at.commands.started] == [("make",), ("./check",)]
        assert at.workshop.packed == [("program",)]
        assert at.uploads.uploaded == [(f"{BASE}/uploads/1/1", "artifact-ticket", f"/slots/0/output/{done.name}")]
        assert at.workshop.cleared == [0]

    def test_commands_get_a_minimal_environment(self) -> None:
        """Nothing of the donor's own environment but the search path reaches a recipe's commands."""
        at = place(script=[Exit(), Exit()])
        self.take(at)
        assert at.commands.started[0].environment == {
            "PATH": "/usr/bin", "HOME": "/slots/0/home", "TMPDIR": "/slots/0/tmp", "LANG": "C.UTF-8", "TZ": "UTC",
            "SOURCE_DATE_EPOCH": "315532800",
        }  # fmt: skip

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

    def test_a_client_checker_that_raises_says_no(self) -> None:
        def broken(checked: Checked) -> str | None:
            raise OSError("disk on fire")

        at = place(checkers=(broken,))
        assert self.declined(at) == "broken of paint raised OSError here"
        assert [f.type for f in self.flushLoggedErrors(OSError)] == [OSError]

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
        at = place(script=[Exit(), Exit()])
        at.workshop.pack_error = DeliverableMissing("promised program, did not deliver")
        self.take(at)
        assert (self.end(at).end, at.link.told[0]) == (AttemptEnd.FAILED, at.link.told[0])
        assert self.end(at).reason == "promised program, did not deliver"

    def test_a_deliverable_that_cannot_be_packed_is_the_projects_failure(self) -> None:
        """A link out of the tree, or a line feed in a name, is there on every machine: none of them is to blame."""
        at = place(script=[Exit(), Exit()])
        at.workshop.pack_error = BadArchive("'program' cannot be packed: it is a link that leads out of the tree")
        self.take(at)
        told = self.end(at)
        assert (told.end, told.reason) == (AttemptEnd.FAILED, str(at.workshop.pack_error))

    def test_programs_for_another_architecture_alone_are_the_projects_failure(self) -> None:
        """A recipe that forgets the cross compiler makes programs that run, but not where they are to."""
        at = place(script=[Exit(), Exit()])
        at.workshop.packed_arches = frozenset({"s390x"})
        self.take(at)
        told = self.end(at)
        assert told.end is AttemptEnd.FAILED
        assert "is for s390x, not for x86_64" in told.reason

    def test_each_way_to_end_has_its_owner(self) -> None:
        """The table of design.md section 4: what is the project's, what is the machine's."""
        missing = "cannot start 'make': no such program in PATH=/usr/bin"
        cases = {
            Exit(None, "time limit", 9, "ran longer than its limit of 9 s"): AttemptEnd.FAILED,
            Exit(None, "silence limit", 9, "wrote nothing for 9 s"): AttemptEnd.FAILED,
            Exit(None, "exited", 9, "was ended by SIGKILL", killed_from_outside=True): AttemptEnd.LIMITED,
            Exit(None, "exited", 9, "was ended by SIGSEGV"): AttemptEnd.FAILED,
            Exit(None, "not started", 0, missing): AttemptEnd.BROKEN,
        }
        for how, whose in cases.items():
            at = place(script=[how])
            self.take(at)
            assert self.end(at).end is whose, how

    def test_a_program_of_the_tree_that_is_missing_is_the_projects_failure(self) -> None:
        """The build made nothing, so ``./check`` is not there: that says nothing about the machine."""
        at = place(script=[Exit(), Exit(None, "not started", 0, "cannot start './check': no such file")])
        self.take(at)
        assert self.end(at).end is AttemptEnd.FAILED

    def test_the_donors_limit_is_the_machines_when_it_is_the_nearer(self) -> None:
        """Both limits count all commands of a build together."""
        over = Exit(None, "time limit", 50, "ran longer than its limit")
        for donor, whose in ((60.0, AttemptEnd.LIMITED), (9000.0, AttemptEnd.FAILED)):
            at = place(script=[Exit(seconds=10), over], time_limit=donor, of=project(time_limit=100.0))
            self.take(at)
            assert self.end(at).end is whose
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
        """MachineFault is the machine's, BuildFailed the project's; a defect of the recipe is not the project's."""
        for error, whose in (
            (MachineFault("needs a printer"), AttemptEnd.BROKEN),
            (BuildFailed("red does not exist before 2.0"), AttemptEnd.FAILED),
            (KeyError("CC"), AttemptEnd.BROKEN),
        ):

            def raises(wanted: Wanted, error: Exception = error) -> Plan:
                raise error

            at = place(of=project(recipe=Recipe(3, raises)))
            self.take(at)
            assert self.end(at).end is whose
        assert len(self.flushLoggedErrors(KeyError)) == 1

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
        at = place(script=[Exit(), Exit()], of=project(artifact_limit=999))
        self.take(at)
        assert self.end(at).reason == "the artifact has 1000 bytes, more than the 999 that are allowed"


class Uploading(Case):
    def test_an_upload_is_tried_again(self) -> None:
        """Lost connections and bytes that arrived wrong are tried again; an expired ticket is renewed first."""
        at = place(script=[Exit(), Exit()])
        at.uploads.errors = [Unavailable("reset"), BadTicket("expired"), BadUpload("wrong digest")]
        self.take(at)
        at.pass_time(20)
        assert isinstance(at.link.told[0], Done)
        assert at.uploads.uploaded[0][1] == "artifact-ticket-1"

    def test_an_upload_that_never_gets_through_is_the_machines_failure(self) -> None:
        at = place(script=[Exit(), Exit()])
        at.uploads.errors = [Unavailable("reset")] * 1000
        self.take(at)
        assert self.end(at, 700).end is AttemptEnd.BROKEN

    def test_what_the_metaserver_finds_too_long_is_the_projects_failure(self) -> None:
        at = place(script=[Exit(), Exit()])
        at.uploads.errors = [TooLong("at most 5 bytes")]
        self.take(at)
        assert self.end(at).end is AttemptEnd.FAILED

    def test_the_end_is_told_again_while_the_metaserver_cannot_store_it(self) -> None:
        at = place(script=[Exit(), Exit()])
        at.link.errors = [StorageUnavailable("disk full"), StorageUnavailable("disk full")]
        self.take(at)
        at.pass_time(10)
        assert isinstance(at.link.told[0], Done)

    def test_an_artifact_that_is_not_taken_ends_the_attempt(self) -> None:
        """A broken upload that shows only at publishing is the machine's failure, not silence."""
        at = place(script=[Exit(), Exit()])
        at.link.errors = [BadUpload("wrong digest")]
        self.take(at)
        assert (self.end(at).end, self.end(at).reason) == (
            AttemptEnd.BROKEN,
            "the artifact was not taken: wrong digest",
        )


class Stopping(Case):
    def test_an_abort_is_told_when_the_processes_are_gone(self) -> None:
        """The running command is told to go; until it is gone nothing is told and the slot is not free."""
        at = place()
        self.take(at)
        assert self.successResultOf(Deferred.fromCoroutine(at.server.abort(AbortOrder(1, 1, "nobody waits")))) == Ok()
        at.pass_time()
        assert at.commands.started[0].stopped == ["nobody waits"]
        assert (at.link.told, at.server.running) == ([], 1)
        at.commands.started[0].end(Exit(None, "stopped", 1, "nobody waits"))
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
        at = place(script=[Exit(), Exit()])
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

    def test_a_lost_connection_stops_and_drops_what_runs(self) -> None:
        """Nobody waits for it any more: nothing is told, not even in the next session."""
        at = place()
        self.take(at)
        at.server.disconnected("connection lost")
        at.connect(2)
        assert at.commands.started[0].stopped == ["connection lost"]
        assert self.declined(at, order()) == "an earlier session's run of this build is still being stopped"
        at.commands.started[0].end(Exit(None, "stopped", 1, "connection lost"))
        at.pass_time()
        assert (at.link.told, at.server.running) == ([], 0)
        self.take(at, order(1, 2))
        assert at.server.running == 1

    def test_handing_back_returns_every_build_and_takes_no_more(self) -> None:
        at = place(max_builds=2)
        self.take(at, order(1))
        self.take(at, order(2))
        leaving = Deferred.fromCoroutine(at.server.hand_back("the owner needs the machine"))
        assert self.declined(at, order(3)) == "the owner needs the machine"
        at.commands.started[0].end(Exit(None, "stopped", 1, ""))
        at.pass_time()
        self.assertNoResult(leaving)
        at.commands.started[1].end(Exit(None, "stopped", 1, ""))
        at.pass_time()
        self.successResultOf(leaving)
        assert {told.end for told in at.link.told if isinstance(told, Ended)} == {AttemptEnd.RETURNED}
        assert len(at.link.told) == 2

    def test_handing_back_nothing_is_done_at_once(self) -> None:
        at = place()
        self.successResultOf(Deferred.fromCoroutine(at.server.hand_back("bye")))


texts = st.text(max_size=600)


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
    one = artifact_name(order(project=name, options=(("colour", first),)))
    other = artifact_name(order(project=name, options=(("colour", second),)))
    assert (one == other) == (first == second)
    assert len(one) <= ARTIFACT_NAME_LIMIT
    assert Path(one).name == one
    assert one.isascii()
    assert one.endswith(".zip")


def test_an_artifact_is_named_after_project_revision_and_platform() -> None:
    assert artifact_name(order()).startswith("paint-0123456789ab-linux-x86_64-")
