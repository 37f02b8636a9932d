"""Whose each end is: by type, for every error that there is."""

import pytest

from buildtool import errors
from buildtool.buildserver.blame import WHOSE, end_of
from buildtool.errors import BuildToolError, by_code
from buildtool.model.records import AttemptEnd
from buildtool.scheduling.servers.declining import RULES

NEVER = {
    "UnknownProject", "EmptySecret", "DatabaseLost",  # kinds of what is in the table, of a start
    "BuildToolError", "InternalError", "IllegalTransition", "DecodeError", "EncodeError", "ProtocolMismatch",
    "NotFound", "Expired", "ConflictingRow", "NewerDatabase", "PortTaken", "Conflict", "Overloaded", "Fenced",
    "Declined", "NameTaken", "StillThere", "OutputLost", "OutputUnread", "MailUndelivered", "MailRefused",
    "MailDeferred", "MailServerTrouble", "LimitReached", "AlreadyRunning",
}  # fmt: skip
"""What no Attempt can raise: of the metaserver, of requesters, of the start. One that does is a defect."""

INHERITS = {
    "GitMissing": "MachineFault",
    "DeliverableMissing": "BuildFailed",
    "RecipeMistake": "ProjectMistake",
    "BadArchive": "ProjectMistake",
    "SourceUnusable": "ProjectMistake",
    "CommitGone": "ProjectMistake",
    "BadTicket": "Unauthorised",
    "CertificateExpired": "Unauthorised",
    "BadOffset": "BadUpload",
    "WrongDigest": "BadUpload",
    "Superseded": "BadUpload",
    "NoContact": "Unavailable",
    "NotRunning": "Unavailable",
    "NoBuildServer": "Unavailable",
}
"""What has no entry of its own, and whose it has: on purpose."""

ALL = sorted((cls for cls in by_code().values() if cls.__module__ == errors.__name__), key=lambda cls: cls.__name__)


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_every_error_has_an_owner_or_cannot_be_raised_by_an_attempt(cls: type[BuildToolError]) -> None:
    """Whoever adds an error says here whose it is."""
    name = cls.__name__
    assert [name in NEVER, name in INHERITS, cls in WHOSE].count(True) == 1
    if name in INHERITS:
        assert end_of(cls()) is WHOSE[getattr(errors, INHERITS[name])]
    elif cls in WHOSE:
        assert end_of(cls()) is WHOSE[cls]


def test_what_is_no_error_of_ours_is_a_defect_but_for_the_systems_own() -> None:
    assert end_of(ValueError()) is None
    assert end_of(PermissionError(13, "no")) is AttemptEnd.BROKEN
    assert end_of(MemoryError()) is AttemptEnd.LIMITED


def test_what_the_project_must_mend_costs_no_machine_anything() -> None:
    """Only ends in the table of rules are held against a machine; the project's two are not among them."""
    projects = {AttemptEnd.FAILED, AttemptEnd.MISTAKEN}
    assert set(RULES) == set(AttemptEnd) - projects - {AttemptEnd.SUCCEEDED}
    assert {end for end, rule in RULES.items() if rule.strike} == {AttemptEnd.BROKEN, AttemptEnd.LOST}
