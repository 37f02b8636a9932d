"""What an Attempt used: told to the farm with its end, and kept for the owner with what was sent of it."""

from attrs import evolve

from buildtool.model.guest.history import NOTHING, DoneWork
from buildtool.model.records import AttemptEnd
from buildtool.project.recipe import Command, Plan, Recipe, Wanted
from buildtool.protocol.messages import Done
from tests.buildserver.test_server import Case
from tests.fakes_build import ending, place, project


class Using(Case):
    def test_an_artifacts_attempt_is_told_with_its_processor_time_and_kept_with_the_bytes_that_were_sent(self) -> None:
        at = place(script=[evolve(ending(), processor=1.5), evolve(ending(), processor=0.25)])
        self.take(at)
        at.pass_time()
        (done,) = at.link.told
        assert isinstance(done, Done)
        self.assertEqual(done.processor, 1.75)
        total = sum((work for _, work in at.records.added), NOTHING)
        self.assertEqual({name for name, _ in at.records.added}, {"paint"})
        self.assertEqual((total.ends, total.processor, total.unmeasured), ({AttemptEnd.SUCCEEDED: 1}, 1750, 0))
        self.assertEqual(total.up, done.size + len(at.uploads.log))

    def test_one_command_that_nobody_measured_makes_the_attempt_unmeasured(self) -> None:
        at = place(script=[evolve(ending(), processor=1.5), ending(code=2, detail="exited with code 2")])
        self.take(at)
        self.assertIsNone(self.end(at).processor)
        total = sum((work for _, work in at.records.added), NOTHING)
        self.assertEqual((total.ends, total.processor, total.unmeasured), ({AttemptEnd.FAILED: 1}, 0, 1))

    def test_the_time_in_which_it_stood_still_is_apart_also_when_it_is_handed_back_then(self) -> None:
        at = place(script=[])
        self.take(at)
        at.pass_time(4)
        (held,) = at.server._open.values()
        assert held.run is not None
        held.run.freeze("the owner is there")
        at.pass_time(30)
        held.run.stop(AttemptEnd.RETURNED, "the owner is there")
        at.commands.started[0].end(evolve(ending(cause="stopped", code=None), processor=0.0))
        at.pass_time(5)
        total = sum((work for _, work in at.records.added), NOTHING)
        self.assertEqual(total.ends, {AttemptEnd.RETURNED: 1})
        self.assertEqual((total.frozen, total.wall), (30_000, 4_000))

    def test_what_its_commands_fetched_and_sent_is_counted_too(self) -> None:
        def fetching(_: Wanted) -> Plan:
            return Plan([Command(["make"])], ["program"], fetch=[Command(["pip", "download"])], network=["pypi.org"])

        of = project(recipe=Recipe(3, fetching))
        at = place(of=of, script=[ending(), ending(code=2)], networked=frozenset({of.name}))
        at.sources.received = 500
        self.take(at)
        at.pass_time()
        total = sum((work for _, work in at.records.added), NOTHING)
        self.assertEqual((total.down, total.up), (3500, 40 + len(at.uploads.log)))

    def test_what_an_earlier_start_left_is_sent_for_a_project_that_is_not_known_any_more(self) -> None:
        at = place()
        self.take(at)
        at.lose()
        for _ in range(2):
            at.commands.started[-1].end()
        at.pass_time()
        again = place(spool=at.spool)
        again.pass_time()
        self.assertEqual(again.records.added, [("", DoneWork(up=1000))])
