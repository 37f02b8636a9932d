"""Statuses at GitHub, GitLab, Gitea and Forgejo, and checks at GitHub, by their published APIs."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote

from attrs import define, field

from buildtool.adapters.notices.http import CallHttp, HttpCall, json_call, parsed_reply
from buildtool.model.notices.notice import Notice, NoticeState
from buildtool.model.notices.outcome import TellOutcome, outcome_of
from buildtool.model.notices.targets import ForgeTarget, StatusApi
from buildtool.ports.common import Clock
from buildtool.ports.notices import OutgoingNotice

DESCRIPTION = {StatusApi.GITHUB_STATUS: 140, StatusApi.GITLAB_STATUS: 255, StatusApi.GITEA_STATUS: 255}
"""The longest description of a status, in characters."""

DEVELOPER = 30
"""The least level of access at GitLab that may write statuses."""

API_VERSION = "2022-11-28"
"""The version of GitHub's API that is spoken."""

_TWO_STATES: Mapping[NoticeState, str] = {
    NoticeState.WAITING: "pending",
    NoticeState.BUILDING: "pending",
    NoticeState.SUCCESS: "success",
    NoticeState.FAILURE: "failure",
    NoticeState.ERROR: "error",
}
_GITLAB: Mapping[NoticeState, str] = {
    NoticeState.WAITING: "pending",
    NoticeState.BUILDING: "running",
    NoticeState.SUCCESS: "success",
    NoticeState.FAILURE: "failed",
    NoticeState.ERROR: "canceled",
}
_CHECKS: Mapping[NoticeState, Mapping[str, str]] = {
    NoticeState.WAITING: {"status": "queued"},
    NoticeState.BUILDING: {"status": "in_progress"},
    NoticeState.SUCCESS: {"status": "completed", "conclusion": "success"},
    NoticeState.FAILURE: {"status": "completed", "conclusion": "failure"},
    NoticeState.ERROR: {"status": "completed", "conclusion": "cancelled"},
}


@define(eq=False)
class ForgeTeller:
    """A way to tell one repository at a forge. ``page`` returns the URL of what a notice is about."""

    target: ForgeTarget
    token: str = field(repr=False)
    call: CallHttp
    page: Callable[[Notice], str]
    wall: Clock

    async def tell(self, outgoing: OutgoingNotice) -> TellOutcome:
        """Send a notice. Raises Unavailable where the forge does not answer."""
        if self.target.kind is StatusApi.GITHUB_CHECKS:
            return await self._check(outgoing)
        call = status_call(self.target, self.token, outgoing.notice, self.page(outgoing.notice))
        return outcome_of(await self.call(call), self.wall.wall())

    async def _check(self, outgoing: OutgoingNotice) -> TellOutcome:
        """Write the check run of a notice: the one that is there, or the first one.

        One that may be there already is looked for by its name and by the id that it was given here.
        """
        notice, target = outgoing.notice, self.target
        at = f"{target.base}/repos/{target.repository}"
        number: int | None = None
        if outgoing.begun:
            name = quote(notice.context, safe="")
            url = f"{at}/commits/{notice.revision}/check-runs?check_name={name}&filter=all&per_page=100"
            reply = await self.call(json_call("GET", url, _headers(target, self.token)))
            outcome = outcome_of(reply, self.wall.wall())
            if not outcome.told:
                return outcome
            number = _run_of(parsed_reply(reply), external_id(notice))
        said = check_body(notice, self.page(notice))
        if number is None:
            call = json_call("POST", f"{at}/check-runs", _headers(target, self.token), said)
        else:
            said = {name: value for name, value in said.items() if name != "head_sha"}
            call = json_call("PATCH", f"{at}/check-runs/{number}", _headers(target, self.token), said)
        return outcome_of(await self.call(call), self.wall.wall())

    async def look(self) -> str:
        """Return what is wrong with the token, or "": one call that changes nothing. Raises Unavailable."""
        target = self.target
        reply = await self.call(json_call("GET", _repository_url(target), _headers(target, self.token)))
        outcome = outcome_of(reply, self.wall.wall())
        if not outcome.told:
            return outcome.reason
        return _scope_trouble(target, reply.headers.get("x-oauth-scopes")) or _right_trouble(
            target, parsed_reply(reply)
        )


def status_call(target: ForgeTarget, token: str, notice: Notice, url: str) -> HttpCall:
    """Return the call that gives a commit a status, with the URL of what it is about."""
    most = DESCRIPTION[target.kind]
    said = {"target_url": url, "description": _cut(notice.reason, most)}
    if target.kind is StatusApi.GITLAB_STATUS:
        path = f"/api/v4/projects/{quote(target.repository, safe='')}/statuses/{notice.revision}"
        said |= {"state": _GITLAB[notice.state], "name": notice.context}
    else:
        root = "" if target.kind is StatusApi.GITHUB_STATUS else "/api/v1"
        path = f"{root}/repos/{target.repository}/statuses/{notice.revision}"
        said |= {"state": _TWO_STATES[notice.state], "context": notice.context}
    return json_call("POST", target.base + path, _headers(target, token), said)


def check_body(notice: Notice, url: str) -> dict[str, object]:
    """Return what a check run is to be, with the URL of what it is about."""
    title = _cut(notice.reason, DESCRIPTION[StatusApi.GITHUB_STATUS])
    output = {"title": title, "summary": f"{_quoted(notice.reason)}\n\n[The build]({url})"}
    about = {"name": notice.context, "head_sha": notice.revision, "external_id": external_id(notice)}
    return {**about, "details_url": url, "output": output, **_CHECKS[notice.state]}


def external_id(notice: Notice) -> str:
    """Return the id that a check run has here: the same for all that is told of one commit and context."""
    return f"{notice.project}:{notice.key}"[:200]


def _run_of(found: object, own: str) -> int | None:
    """Return the number of our check run among those of a commit, the newest first; None where it is not there."""
    runs = found.get("check_runs") if isinstance(found, dict) else None
    for one in runs if isinstance(runs, list) else ():
        if isinstance(one, dict) and one.get("external_id") == own and isinstance(one.get("id"), int):
            return int(one["id"])
    return None


def _headers(target: ForgeTarget, token: str) -> dict[str, str]:
    match target.kind:
        case StatusApi.GITLAB_STATUS:
            return {"PRIVATE-TOKEN": token}
        case StatusApi.GITEA_STATUS:
            return {"Authorization": f"token {token}"}
        case _:
            return {
                "Authorization": f"Bearer {token}",
                "Accept": "application/vnd.github+json",
                "X-GitHub-Api-Version": API_VERSION,
            }


def _repository_url(target: ForgeTarget) -> str:
    match target.kind:
        case StatusApi.GITLAB_STATUS:
            return f"{target.base}/api/v4/projects/{quote(target.repository, safe='')}"
        case StatusApi.GITEA_STATUS:
            return f"{target.base}/api/v1/repos/{target.repository}"
        case _:
            return f"{target.base}/repos/{target.repository}"


def _scope_trouble(target: ForgeTarget, scopes: str | None) -> str:
    """Return what a classic token of GitHub lacks; only such a one says its scopes."""
    if scopes is None or target.kind is not StatusApi.GITHUB_STATUS:
        return ""
    has = {one.strip() for one in scopes.split(",")}
    return "" if has & {"repo", "repo:status"} else "its token has not the scope repo:status"


def _right_trouble(target: ForgeTarget, found: object) -> str:
    """Return that the token's account may not write to the repository, where the forge says so."""
    rights = found.get("permissions") if isinstance(found, dict) else None
    if not isinstance(rights, dict):
        return ""
    if target.kind is StatusApi.GITLAB_STATUS:
        levels = [one.get("access_level") for one in rights.values() if isinstance(one, dict)]
        may = not levels or any(isinstance(one, int) and one >= DEVELOPER for one in levels)
        return "" if may else f"its token's account is no developer of {target.repository}"
    return "" if rights.get("push", True) else f"its token's account may not push to {target.repository}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def _quoted(text: str) -> str:
    """Return a line as Markdown shows it as it is."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=1))
    return f"{fence} {text} {fence}"


Look = Callable[[], Awaitable[str]]
"""Returns what is wrong with a target, or ""."""
