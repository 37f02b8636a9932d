"""What the body of a delivery says, read strictly and bounded, once it is known whose word it is.

The event is named by a header that no forge signs. So it counts only where the body has the shape of one: a body of a
comment does not pass for a push, nor that of a push for a pull request. The test is
tests/protocol/hooks/test_payload.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from buildtool.errors import DecodeError
from buildtool.model.hooks.events import Commented, HookEvent, Pinged, PullAction, PullMoved, RefsMoved, Unheeded
from buildtool.model.hooks.signing import ForgeKind
from buildtool.model.names import is_commit_id
from buildtool.model.text import one_line, quoted
from buildtool.protocol.json_text import TextBounds, parsed

__all__ = ["event_in", "payload_of", "repositories_in", "repository_key"]

BOUNDS = TextBounds(values=200_000, depth=32)
"""The most that a body may have: GitHub's of a push have some 15 values a commit."""

REFS = 100
"""Most refs of one delivery that are read."""

TEXT = 4_000
"""Most characters of a comment that are read: its beginning."""

_FORM = "application/x-www-form-urlencoded"
_REF = re.compile(r"refs/[^\x00-\x20\x7f~^:?*\[\\\ud800-\udfff]{1,245}")
_NAME = re.compile(r"[^\x00-\x20\x7f~^:?*\[\\\ud800-\udfff]{1,230}")
_LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\[\]-]{0,99}")
_MOST = 2**53
_LONG = 1_000

Payload = Mapping[str, Any]


def payload_of(body: bytes, content_type: str) -> Payload:
    """Return what a body holds: one JSON object, or a form whose field ``payload`` is one. Raises DecodeError."""
    text = body
    if content_type.partition(";")[0].strip().lower() == _FORM:
        try:
            fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=10, errors="strict")
        except ValueError:
            raise DecodeError("a form that cannot be read") from None
        found = [value for name, value in fields if name == "payload"]
        if len(found) != 1:
            raise DecodeError("a form without one field payload")
        text = found[0].encode()
    told = parsed(text, BOUNDS)
    if not isinstance(told, dict):
        raise DecodeError("a text that is no JSON object")
    return told


def event_in(kind: ForgeKind, event: str, told: Payload) -> HookEvent:
    """Return what a payload says of the event that a header names. Raises DecodeError where it says nothing of it."""
    if kind is ForgeKind.GENERIC:
        return _generic(told)
    readers = _GITLAB if kind is ForgeKind.GITLAB else _GITHUB
    read = readers.get(event.strip().lower())
    return read(told) if read is not None else Unheeded(one_line(event, 60))


# --- GitHub, and Gitea and Forgejo, which are alike --------------------------------------------------------------


def _push(told: Payload) -> HookEvent:
    _text(told, "after")
    return RefsMoved((_ref(_text(told, "ref")),))


def _made(told: Payload) -> HookEvent:
    kind, name = _text(told, "ref_type"), _text(told, "ref")
    prefix = {"branch": "refs/heads/", "tag": "refs/tags/"}.get(kind)
    if prefix is None:
        return Unheeded("a new repository") if kind == "repository" else _no(f"ref_type is {quoted(kind, 40)}")
    return RefsMoved((_ref(name if name.startswith("refs/") else prefix + name),))


def _pull(told: Payload) -> HookEvent:
    pull = _table(told, "pull_request")
    head, base = _table(pull, "head"), _table(pull, "base")
    action = _ACTIONS.get(_text(told, "action"), PullAction.OTHER)
    ours, theirs = base.get("repo"), head.get("repo")  # None once a fork is deleted
    same = isinstance(ours, dict) and isinstance(theirs, dict) and _whole(ours, "id") == theirs.get("id")
    number = _whole(told if "number" in told else pull, "number")
    return PullMoved(
        number, action, _commit(_text(head, "sha")), _branch(_text(base, "ref")), _login(pull), foreign=not same
    )


_ACTIONS = {
    "opened": PullAction.OPENED, "reopened": PullAction.OPENED, "open": PullAction.OPENED, "reopen": PullAction.OPENED,
    "synchronize": PullAction.MOVED, "synchronized": PullAction.MOVED,
    "closed": PullAction.CLOSED, "close": PullAction.CLOSED, "merge": PullAction.CLOSED,
}  # fmt: skip
"""What forges call what happened to a pull request."""


def _comment(told: Payload) -> HookEvent:
    issue, comment = _table(told, "issue"), _table(told, "comment")
    return Commented(
        _whole(issue, "number"), _whole(comment, "id"), _login(comment), _text(comment, "body", most=None)[:TEXT],
        pull=isinstance(issue.get("pull_request"), dict), made=_text(told, "action") == "created",
    )  # fmt: skip


def _ping(told: Payload) -> HookEvent:
    _text(told, "zen", most=None)
    return Pinged()


_GITHUB: Mapping[str, Callable[[Payload], HookEvent]] = {
    "push": _push, "create": _made, "delete": _made,
    "pull_request": _pull, "pull_request_sync": _pull,
    "issue_comment": _comment, "pull_request_comment": _comment,
    "ping": _ping,
}  # fmt: skip
"""What reads the body of each event, by the name in the header."""


# --- GitLab ------------------------------------------------------------------------------------------------------


def _gitlab_push(told: Payload) -> HookEvent:
    if _text(told, "object_kind") not in ("push", "tag_push"):
        _no("object_kind is no push")
    return RefsMoved((_ref(_text(told, "ref")),))


def _gitlab_merge(told: Payload) -> HookEvent:
    about = _table(told, "object_attributes")
    if _text(told, "object_kind") != "merge_request":
        _no("object_kind is no merge_request")
    said = about.get("action", "")
    action = _ACTIONS.get(said if isinstance(said, str) else "", PullAction.OTHER)
    if said == "update" and "oldrev" in about:  # else only its title or labels are others
        action = PullAction.MOVED
    same = _whole(about, "source_project_id") == _whole(about, "target_project_id")
    head = _commit(_text(_table(about, "last_commit"), "id"))
    base = _branch(_text(about, "target_branch"))
    return PullMoved(_whole(about, "iid"), action, head, base, "", foreign=not same)


def _gitlab_note(told: Payload) -> HookEvent:
    about, user = _table(told, "object_attributes"), _table(told, "user")
    if _text(told, "object_kind") != "note":
        _no("object_kind is no note")
    where = {"MergeRequest": "merge_request", "Issue": "issue"}.get(_text(about, "noteable_type"))
    if where is None:
        return Unheeded("a comment on something else")
    number, text = _whole(_table(told, where), "iid"), _text(about, "note", most=None)[:TEXT]
    made = about.get("action", "create") == "create"
    login = _login_in(user, "username")
    return Commented(number, _whole(about, "id"), login, text, pull=where == "merge_request", made=made)


_GITLAB: Mapping[str, Callable[[Payload], HookEvent]] = {
    "push hook": _gitlab_push, "tag push hook": _gitlab_push,
    "merge request hook": _gitlab_merge, "note hook": _gitlab_note,
}  # fmt: skip


# --- others ------------------------------------------------------------------------------------------------------


def _generic(told: Payload) -> HookEvent:
    """Return what a payload of another sender says: the refs, where there are any, and else that something happened."""
    refs = told.get("refs", [told["ref"]] if "ref" in told else [])
    if not isinstance(refs, list) or len(refs) > REFS:
        _no(f"refs is no list of at most {REFS}")
    return RefsMoved(tuple(_ref(one) if isinstance(one, str) else _no("a ref is no text") for one in refs))


# --- which repository --------------------------------------------------------------------------------------------

_ADDRESSES = (
    "clone_url",
    "html_url",
    "ssh_url",
    "git_url",
    "url",
    "git_http_url",
    "git_ssh_url",
    "web_url",
    "homepage",
)


def repositories_in(told: Payload) -> frozenset[str]:
    """Return the repository that a payload is about, by each of its addresses as ``repository_key`` writes them."""
    return frozenset(filter(None, map(repository_key, _addresses(told))))


def _addresses(told: Payload) -> Iterator[str]:
    for where in ("repository", "project"):
        about = told.get(where)
        found = [about.get(name) for name in _ADDRESSES] if isinstance(about, dict) else [about]
        yield from (one for one in found if isinstance(one, str) and len(one) <= _LONG)


def repository_key(url: str) -> str:
    """Return the host and path of a repository, the same however it is reached; "" for what is no address of one."""
    host, colon, path = url.partition(":")
    if colon and "/" not in host and not path.startswith("//"):  # git@host:path
        host = host.rpartition("@")[2]
    else:
        try:
            parts = urlsplit(url)
            host, path = parts.hostname or "", parts.path
        except ValueError:
            return ""
    path = path.strip("/").removesuffix(".git").rstrip("/")
    return f"{host}/{path}".lower() if path else ""


# --- what is read ------------------------------------------------------------------------------------------------


def _no(why: str) -> Any:  # noqa: ANN401 - it never returns
    raise DecodeError(f"a body that is not what its header says: {why}")


def _table(told: Payload, name: str) -> dict[str, Any]:
    found = told.get(name)
    if not isinstance(found, dict):
        _no(f"it has no {name}")
    return found  # type: ignore[return-value] # it is one


def _text(told: Payload, name: str, most: int | None = _LONG) -> str:
    found = told.get(name)
    if not isinstance(found, str) or (most is not None and len(found) > most):
        _no(f"{name} is no text, or too long" if name in told else f"it has no {name}")
    return found  # type: ignore[return-value] # it is one


def _whole(told: Payload, name: str) -> int:
    found = told.get(name)
    if isinstance(found, bool) or not isinstance(found, int) or not 0 < found < _MOST:
        _no(f"{name} is no number above 0")
    return found  # type: ignore[return-value] # it is one


def _login(told: Payload) -> str:
    return _login_in(_table(told, "user"), "login")


def _login_in(user: Payload, name: str) -> str:
    """Return a login, "" for a text that is none: made harmless it could be somebody else's."""
    found = _text(user, name)
    return found if _LOGIN.fullmatch(found) else ""


def _ref(name: str) -> str:
    return name if _REF.fullmatch(name) else _no(f"{quoted(name, 80)} is no full name of a ref")


def _branch(name: str) -> str:
    return name if _NAME.fullmatch(name) else _no(f"{quoted(name, 80)} is no name of a branch")


def _commit(text: str) -> str:
    return text if is_commit_id(text) else _no(f"{quoted(text, 80)} is no full id of a commit")
