"""A start by a followed commit: its signature is checked anew, and what does not load leaves what held before."""

import shutil
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from buildtool.adapters.runtime.threads import Inline
from buildtool.configuration.settings import Settings
from buildtool.errors import ConfigurationError
from buildtool.model.guest.follow_record import MOST_STARTS, FollowRecord
from buildtool.model.guest.following import Kinship, SignatureVerdict
from buildtool.ports.buildserver import FollowLook
from buildtool.programs.buildserver.following import loading
from buildtool.programs.buildserver.following.source import FollowedSource
from buildtool.programs.buildserver.following.starting import started_with
from buildtool.programs.buildserver.following.telling import record_words
from tests.programs.buildserver.following.conftest import Donor, config
from tests.support.inline import run

pytestmark = pytest.mark.world


def starts(donor: Donor, begins: str = "", **changed: object) -> str:
    """Start by what is remembered, with ``begins`` to begin; return the projects and versions of that start."""
    following = donor.following(**changed)
    if begins:
        following.choice.repository(donor.place).fetch()
        record = following.record()
        following.memory.save(FollowRecord(following.choice.source, holds=record.holds, begins=begins))

    def make(settings: Settings) -> str:
        return ", ".join(f"{one.name} {one.recipe.version}" for one in settings.projects)

    return started_with(following, donor.settings(), make)


def test_until_something_holds_the_projects_are_the_machines_own(donor: Donor) -> None:
    assert starts(donor) == "mine 1"
    first = donor.origin.push(donor.owner, config__py=config(5))
    assert starts(donor, first) == "one 5"
    assert starts(donor) == "one 5"
    record = donor.following().record()
    assert (record.holds, record.begins) == (first, "")
    assert record_words(record).startswith(f"{first[:12]} holds since ")


def test_a_commit_that_does_not_load_is_given_up_and_the_old_one_goes_on(donor: Donor) -> None:
    first = donor.origin.push(donor.owner, config__py=config(5))
    assert starts(donor, first) == "one 5"
    second = donor.origin.push(donor.owner, config__py=config(6, "raise ValueError('no')"))
    assert starts(donor, second) == "one 5"
    record = donor.following().record()
    assert (record.holds, record.begins, record.failed) == (first, "", second)
    assert "config.py:3: ValueError: no" in record_words(record)


def test_a_commit_that_hangs_is_given_up(donor: Donor, monkeypatch: pytest.MonkeyPatch) -> None:
    first = donor.origin.push(donor.owner, config__py=config(5, "while True: pass"))
    monkeypatch.setattr(loading, "FILE_PATIENCE", 0.2)
    assert starts(donor, first) == "mine 1"
    assert "took longer than 0.2 s" in donor.following().record().failed_words


def test_a_commit_that_ends_the_program_is_given_up_after_some_starts(donor: Donor) -> None:
    first = donor.origin.push(donor.owner, config__py=config(5))
    assert starts(donor, first) == "one 5"
    second = donor.origin.push(donor.owner, config__py=config(6, "raise KeyboardInterrupt"))
    with pytest.raises(KeyboardInterrupt):
        starts(donor, second)
    for _ in range(MOST_STARTS - 1):
        with pytest.raises(KeyboardInterrupt):
            starts(donor)
    assert starts(donor) == "one 5"


def test_a_commit_whose_key_was_taken_away_is_not_loaded_again(donor: Donor, keys: Path) -> None:
    first = donor.origin.push(donor.owner, config__py=config(5))
    assert starts(donor, first) == "one 5"
    donor.public.write_bytes((keys / "other.pub").read_bytes())
    assert starts(donor) == "mine 1"
    donor.public.write_text("nothing")
    with pytest.raises(ConfigurationError, match="line 1: it is no key"):
        starts(donor)


def test_what_somebody_wrote_beside_it_is_not_what_is_loaded(donor: Donor) -> None:
    first = donor.origin.push(donor.owner, config__py=config(5))
    assert starts(donor, first) == "one 5"
    tree = donor.place / "trees" / first
    (tree / "config.py").write_text(config(6))
    (tree / "more.py").write_text("")
    (tree.parent / "old").mkdir()
    assert starts(donor) == "one 5"
    assert not (tree / "more.py").exists()
    assert not (tree.parent / "old").exists()


def test_a_memory_that_names_what_was_never_signed_loads_nothing_of_it(donor: Donor) -> None:
    harm = donor.origin.push(None, config__py=config(6, "raise SystemExit"))
    assert starts(donor, harm) == "mine 1"
    assert not (donor.place / "trees" / harm).exists()


def test_another_repository_begins_with_nothing(donor: Donor) -> None:
    first = donor.origin.push(donor.owner, config__py=config(5))
    assert starts(donor, first) == "one 5"
    donor.origin.git("branch", "other")
    assert starts(donor, follow_config=f"{donor.origin.url}#other") == "mine 1"


def test_a_copy_that_is_gone_leaves_the_machines_own_projects_until_it_is_there_again(donor: Donor) -> None:
    first = donor.origin.push(donor.owner, config__py=config(5))
    assert starts(donor, first) == "one 5"
    shutil.rmtree(donor.place / "repository.git")
    assert starts(donor) == "mine 1"
    record = donor.following().record()
    assert (record.holds, bool(record.lost)) == (first, True), "an older commit is still no newer one"
    assert "which held, was not loaded" in record_words(record)
    look(donor, first)
    assert starts(donor) == "one 5"
    assert donor.following().record().lost == ""


def look(donor: Donor, holds: str = "", at: float = 0.0) -> tuple[FollowedSource, FollowLook]:
    import argparse

    class Wall(Clock):
        def wall(self) -> float:
            return at

    said = argparse.Namespace(allow_network=())
    source = FollowedSource(donor.following().choice, donor.place, donor.own, said, Inline(), Wall())
    return source, run(source.look(holds))


def test_a_look_finds_commit_signer_and_what_changed_and_a_trial_writes_the_files(donor: Donor) -> None:
    first = donor.origin.push(donor.owner, config__py=config(5))
    donor.origin.push(donor.owner, config__py=config(6))
    second = donor.origin.push(donor.owner, more="")
    source, found = look(donor, first)
    assert (found.tip.commit, found.tip.signature, found.tip.kinship) == (
        second, SignatureVerdict.TRUSTED, Kinship.NEWER,
    )  # fmt: skip
    assert found.about.startswith(f"{second[:12]} of A <a@example.org>, signed by owner (SHA256:")
    assert found.about.endswith("change more (2 files changed: config.py, more)")
    assert run(source.attempt(second)) == ""
    (donor.origin.path / "link").symlink_to("/etc")
    third = donor.origin.push(donor.owner)
    source, found = look(donor, second)
    assert run(source.attempt(third)) == "link is a link: put the file itself there"


def test_a_key_whose_time_is_over_counts_for_no_new_commit(donor: Donor) -> None:
    donor.origin.push(donor.owner, config__py=config(5))
    donor.public.write_text(f'owner valid-before="20270101Z" {donor.public.read_text()}')
    assert look(donor, at=1_700_000_000.0)[1].tip.signature is SignatureVerdict.TRUSTED
    assert look(donor, at=1_900_000_000.0)[1].tip.signature is SignatureVerdict.UNKNOWN
