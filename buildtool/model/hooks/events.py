"""What a delivery of a forge says that happened, whichever forge it is.

All of it is a hint: what is built follows from the repository, and what is approved is asked of the forge. The test is
tests/protocol/hooks/test_payload.py.
"""

from __future__ import annotations

import enum

from attrs import frozen

__all__ = ["Commented", "HookEvent", "Pinged", "PullAction", "PullMoved", "RefsMoved", "Unheeded", "words_of_event"]


class PullAction(enum.Enum):
    """A kind of thing that happened to a pull request."""

    OPENED = "opened"
    MOVED = "moved"
    CLOSED = "closed"
    OTHER = "other"


@frozen
class RefsMoved:
    """A push: the full names of refs that were moved, made or deleted, none where its sender does not say which."""

    refs: tuple[str, ...] = ()


@frozen
class PullMoved:
    """A pull request, or GitLab's merge request, by its ``number``: its head is the full commit id ``head``.

    ``base`` is the name of the branch that it is to go into, ``author`` the login of who opened it, "" where the forge
    does not say. With ``foreign`` its branch is in another repository.
    """

    number: int
    action: PullAction
    head: str
    base: str
    author: str = ""
    foreign: bool = True


@frozen
class Commented:
    """A comment by ``login`` on an issue or pull request, by its number; ``pull`` says whether it is the latter.

    ``id`` is the forge's own of the comment. ``made`` is whether it is new, and was not changed or deleted. ``text`` is
    its beginning.
    """

    number: int
    id: int
    login: str
    text: str
    pull: bool
    made: bool


@frozen
class Pinged:
    """The trial delivery of a forge, that a hook is set up."""


@frozen
class Unheeded:
    """An event of a kind that builds nothing."""

    kind: str


HookEvent = RefsMoved | PullMoved | Commented | Pinged | Unheeded
"""All that a delivery may say."""


def words_of_event(event: HookEvent) -> str:
    """Return what an event is, in a few words for people."""
    match event:
        case RefsMoved(refs):
            return f"push of {', '.join(refs[:3])}{' ...' if refs[3:] else ''}" if refs else "push"
        case PullMoved(number, action, head):
            return f"pull request {number} {action.value}, at {head[:12]}"
        case Commented(number, _, login):
            return f"comment of {login} on {number}"
        case Pinged():
            return "ping"
        case Unheeded(kind):
            return f"{kind}, of which nothing is built"
