"""Finished logs are read to their end; one that cannot be read goes to quarantine, and all others stay."""

from buildtool.adapters.maintenance.scrub_artifacts import REST
from buildtool.adapters.maintenance.scrub_logs import LogScrub
from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.storage.logs import LogStore
from tests.adapters.maintenance.keeping import KeepingCase
from tests.adapters.maintenance.states import LOG, soil
from tests.support.inline import run


class LogScrubTests(KeepingCase):
    def scrub(self) -> list[str]:
        """Let all logs be read; return which are in quarantine."""
        logs = LogStore(self.state, Inline())
        self.task(LogScrub(self.state, logs, Inline()).round_)
        self.pass_time(60.0)
        there = self.state / "quarantine"
        return sorted(path.name for path in there.iterdir()) if there.exists() else []

    def test_sound_logs_stay_and_what_still_grows_is_not_looked_at(self) -> None:
        assert self.scrub() == []
        assert run(LogStore(self.state, Inline()).read(1, 1, 0, len(LOG))) == LOG
        assert (self.state / "logs" / "5-2.log").exists()

    def test_a_damaged_log_goes_to_quarantine(self) -> None:
        soil(self.state / "logs" / "1-1.log.zst", 40)
        assert self.scrub() == ["1-1.log.zst"]
        assert not [path.name for path in (self.state / "logs").iterdir() if path.name.startswith("1-1.")]

    def test_a_log_that_is_damaged_after_it_was_read_is_found_a_day_later(self) -> None:
        assert self.scrub() == []
        soil(self.state / "logs" / "1-1.log.zst", 40)
        self.pass_time(REST + 3_600.0, 60.0)
        assert (self.state / "quarantine" / "1-1.log.zst").exists()

    def test_what_is_no_log_is_left_alone(self) -> None:
        (self.state / "logs" / "notes.log.zst").write_text("somebody's")
        assert self.scrub() == []
        assert (self.state / "logs" / "notes.log.zst").exists()
