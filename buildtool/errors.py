"""One tree of errors. The message of each is the one line that a person reads; the docstring says what it means.

Tested by tests/buildserver/test_blame.py, where each has its place.
"""

from __future__ import annotations


class BuildToolError(Exception):
    """A thing was asked that cannot be done; the message says what was wrong and what would be right.

    ``code`` is the machine-readable name that crosses the wire and stands in ``--json`` output.
    """

    code = "error"


class UsageError(BuildToolError):
    """A wish that makes no sense: an unknown option, a wrong value, contradictory options."""

    code = "usage"


class ConfigurationError(BuildToolError):
    """A ``config.py`` is missing, unreadable or wrong. The message names the file and the setting."""

    code = "configuration"


class EmptySecret(ConfigurationError):
    """A secret's file is missing or empty. The start stops here rather than go on with an empty password."""

    code = "empty-secret"


class DatabaseLost(ConfigurationError):
    """The database that knows artifacts and logs is gone, though they are there: a start would forget all of them."""

    code = "database-lost"


class UnknownProject(UsageError):
    """No project of that name is configured. The message lists those that are."""

    code = "unknown-project"


class UnknownRef(BuildToolError):
    """The branch, tag or commit does not exist in the project's repository."""

    code = "unknown-ref"


class RepositoryUnreachable(BuildToolError):
    """The project's repository did not answer or refused; the message ends with what git said last."""

    code = "repository-unreachable"


class MachineFault(BuildToolError):
    """The machine, not the project, is at fault: no disk, a missing tool. The build is tried elsewhere."""

    code = "machine-fault"


class GitMissing(MachineFault):
    """No git can be run on this machine, or only one that is too old: git has to be installed."""

    code = "git-missing"


class BuildFailed(BuildToolError):
    """The project's own fault: a command failed or a promised deliverable is missing."""

    code = "build-failed"


class ToolMissing(MachineFault, KeyError):
    """A recipe asked for a program of the platform's (``wanted.tools["CC"]``) that this machine has not."""

    code = "tool-missing"

    def __str__(self) -> str:
        """Return the message as it is; a KeyError would show it as Python writes it."""
        return Exception.__str__(self)


class DeliverableMissing(BuildFailed):
    """The commands succeeded, but a file that the recipe promises to deliver is not there."""

    code = "deliverable-missing"


class ProjectMistake(BuildFailed):
    """A mistake that only the project or its integrator can mend: the message says what and where.

    No machine could do better, so it is final at once, is not repeated, and is held against no machine.
    """

    code = "project-mistake"


class RecipeMistake(ProjectMistake):
    """A project's ``config.py`` raised, or answered with something else than it should; with file and line of it."""

    code = "recipe-mistake"


class BadArchive(ProjectMistake):
    """A name, a link or a file cannot be packed, or may not be read. It is so on any machine."""

    code = "bad-archive"


class SourceUnusable(ProjectMistake):
    """The commit's sources cannot be laid out, here or anywhere: the message says what to mend.

    A submodule's commit that was never pushed, a submodule without an address, a filter whose program is missing.
    """

    code = "source-unusable"


class CommitGone(SourceUnusable):
    """The commit is nowhere any more: neither its repository nor the metaserver has it. It has to be pushed again."""

    code = "commit-gone"


class DecodeError(BuildToolError):
    """A peer sent something that is not what the protocol says. Nothing of it was used."""

    code = "decode"


class EncodeError(BuildToolError):
    """A message of our own would break the protocol's limits, so it was not sent."""

    code = "encode"


class ProtocolMismatch(BuildToolError):
    """The two programs speak different versions of the protocol; the message says which one to update."""

    code = "protocol"


class Unauthorised(BuildToolError):
    """The peer may not do this: a wrong cancel token, a name that is taken."""

    code = "unauthorised"


class CertificateExpired(Unauthorised):
    """The certificate of a key has expired, by the metaserver's clock: it has to be renewed before anything else."""

    code = "certificate-expired"


class BadTicket(Unauthorised):
    """A transfer ticket is forged, expired, or for something else."""

    code = "bad-ticket"


class BadUpload(BuildToolError):
    """An upload is too long, too short, or its bytes do not have the digest that was promised."""

    code = "bad-upload"


class UnsafeArchive(BuildToolError):
    """An upload that is no archive as build servers pack it, or could do harm where it is unpacked; it was deleted."""

    code = "unsafe-archive"


class BadOffset(BadUpload):
    """The bytes were sent for a place that the file has not reached; ``length`` is how far it has got, in bytes."""

    code = "bad-offset"

    def __init__(self, message: str = "", length: int = 0) -> None:
        """``length`` is in bytes."""
        super().__init__(message)
        self.length = length


class TooLong(BadUpload):
    """An upload or a body has more bytes than the ticket or the port allows, or than were announced."""

    code = "too-long"


class WrongDigest(BadUpload):
    """The bytes that arrived are not those whose digest was promised. They were thrown away."""

    code = "wrong-digest"


class Superseded(BadUpload):
    """A newer connection sends the same upload, so this one no longer counts."""

    code = "superseded"


class Damaged(BuildToolError):
    """An artifact or log is no longer what its digest says, so it is not given out."""

    code = "damaged"


class NotFound(BuildToolError):
    """No build, request, artifact or log has that id."""

    code = "not-found"


class Expired(NotFound):
    """A thing that was kept for as long as the farm keeps such. The message says since when and by which rule."""

    code = "expired"


NOTHING_ACCEPTED = "storage unavailable, nothing was accepted"
"""What the metaserver's words begin with when it could not keep what was sent."""


class StorageUnavailable(BuildToolError):
    """The database or the disk cannot keep what was sent. Nothing was accepted; try again later."""

    code = "storage-unavailable"


class ConflictingRow(BuildToolError):
    """The database will never take one of the rows: it breaks a rule of the schema. Nothing was written.

    Unlike StorageUnavailable this does not pass: of several decisions committed at once each is then tried alone.
    """

    code = "conflicting-row"


class NewerDatabase(BuildToolError):
    """The database was written by a newer version of this program, which this one must not touch."""

    code = "newer-database"


class Unavailable(BuildToolError):
    """The metaserver cannot be reached, or the connection to it was lost before it answered."""

    code = "unavailable"


class NoContact(Unavailable):
    """All logins failed that the build server was told to try. The message ends with why the last did."""

    code = "no-contact"


class NotRunning(Unavailable):
    """No metaserver runs on this machine with that state directory. The message says how to start it."""

    code = "not-running"


class NoBuildServer(NotRunning):
    """No build server of that name runs on this machine, or it does not answer its owner. The message says which."""

    code = "no-build-server"


class AlreadyRunning(BuildToolError):
    """A server runs already by its pid file, or runs on though it was told to end. The message names the process."""

    code = "already-running"


class OutputLost(BuildToolError):
    """The output of the program could not be written. The message says why."""

    code = "output"


class OutputUnread(OutputLost):
    """The output of the program is read no more, as when ``head`` has seen enough. Not worth a word."""

    code = "output-unread"


class PortTaken(BuildToolError):
    """A port that the program should listen on is in use. The message names the port and the setting."""

    code = "port-taken"


class Conflict(BuildToolError):
    """The same request id came with a different body: a client must make a new id for a new request."""

    code = "conflict"


class Overloaded(BuildToolError):
    """All places for requests are taken; those that wait go on, and later there is room again."""

    code = "overloaded"


class LimitReached(Overloaded):
    """A caller has had as much as it may have for now. The message says of what, and when to try again.

    ``again`` is in how many seconds that is.
    """

    code = "limit-reached"

    def __init__(self, message: str = "", again: float = 0.0) -> None:
        """``again`` is in seconds."""
        super().__init__(message)
        self.again = again


class Fenced(BuildToolError):
    """A newer login of the same build server stands: this Session is over."""

    code = "fenced"


class NameTaken(BuildToolError):
    """The name is another build server's, connected or expected back: this machine needs one of its own."""

    code = "name-taken"


class StillThere(BuildToolError):
    """A build server cannot be forgotten: it is connected, or may still bring what it was building."""

    code = "still-there"


class Declined(BuildToolError):
    """A build server does not take a build now. The message is the reason; the build goes elsewhere, or later here."""

    code = "declined"


class InternalError(BuildToolError):
    """A defect of this program. The details are in its own log, never in an answer to a peer."""

    code = "internal"


class MailUndelivered(BuildToolError):
    """A mail was not taken by the mail server. The message says what the server, or the way to it, answered."""

    code = "mail"


class MailRefused(MailUndelivered):
    """The mail server refused this mail, or its recipient, for good; trying again would change nothing."""

    code = "mail-refused"


class MailDeferred(MailUndelivered):
    """The mail server asks to try this mail again later."""

    code = "mail-deferred"


class MailServerTrouble(MailUndelivered):
    """The mail server is away, or refuses the settings (TLS, login, sender): no mail can be sent now."""

    code = "mail-server"


class IllegalTransition(BuildToolError):
    """A lifecycle table has no such step: a defect, raised before anything is changed."""

    code = "illegal-transition"


def by_code() -> dict[str, type[BuildToolError]]:
    """Return every error class by its ``code``, for turning a refusal off the wire back into an exception."""
    found: dict[str, type[BuildToolError]] = {}
    queue: list[type[BuildToolError]] = [BuildToolError]
    while queue:
        cls = queue.pop()
        found[cls.code] = cls
        queue.extend(cls.__subclasses__())
    return found
