"""GitHub's API, as far as the farm uses it. Bodies are checked against the description that GitHub publishes.

``described.py`` makes ``github.json`` of that. What the description does not say is by its documentation: the length of
a status's description, who may do what, and what is answered where nothing is found.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define

from tests.support.forges.described import wrong
from tests.support.forges.forge import Call, Forge, Refused, Reply, Repository, Route, TokenHolder, refuse

DESCRIPTION = 140
"""The longest description of a status, in characters."""

STATUSES = 1_000
"""Most statuses of one commit and context."""


@define(eq=False)
class GitHub(Forge):
    """GitHub in memory.

    Classic tokens have ``scopes`` such as ``repo:status``, fine-grained ones and those of apps ``statuses:write``.
    """

    def routes(self) -> Sequence[Route]:
        repo = "/repos/{owner}/{repo}"
        return (
            Route("GET", repo, self._repository),
            Route("POST", repo + "/statuses/{sha}", self._status),
            Route("GET", repo + "/commits/{sha}/statuses", self._statuses),
            Route("POST", repo + "/check-runs", self._check),
            Route("PATCH", repo + "/check-runs/{id}", self._check_again),
            Route("GET", repo + "/commits/{sha}/check-runs", self._checks),
        )

    def shown(self, call: Call) -> str:
        kind, _, token = call.headers.get("authorization", "").partition(" ")
        return token if kind.lower() in ("bearer", "token") else ""

    def unknown(self) -> Reply:
        return _problem(401, "Bad credentials")

    def missing(self) -> Reply:
        return _problem(404, "Not Found")

    def limits(self, left: int, reset: float) -> dict[str, str]:
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(left),
            "X-RateLimit-Used": str(self.limit - left),
            "X-RateLimit-Reset": str(int(reset)),
            "X-RateLimit-Resource": "core",
        }

    def exceeded(self, reset: float) -> Reply:
        return _problem(403, "API rate limit exceeded for user ID 1.")

    def secondary(self, seconds: int) -> None:
        """Answer the next call that there were too many in a short time."""
        words = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
        self.moods.append(_problem(403, words, {"Retry-After": str(seconds)}))

    def _answer(self, call: Call) -> Reply:
        if not call.headers.get("user-agent"):
            return Reply(403, "Request forbidden by administrative rules: there is no User-Agent header")
        reply = Forge._answer(self, call)
        holder = self.tokens.get(self.shown(call))
        if holder is None or holder.app or any(one.endswith((":read", ":write")) for one in holder.scopes):
            return reply
        return Reply(reply.code, reply.body, {**reply.headers, "X-OAuth-Scopes": ", ".join(sorted(holder.scopes))})

    def _found(self, parts: Mapping[str, str]) -> Repository:
        return self.found(f"{parts['owner']}/{parts['repo']}")

    def _repository(self, _call: Call, holder: TokenHolder, parts: Mapping[str, str]) -> Reply:
        found = self._found(parts)
        push = holder.user in found.pushers
        return Reply(200, {"id": 1, "full_name": found.name, "permissions": {"pull": True, "push": push}})

    def _status(self, call: Call, holder: TokenHolder, parts: Mapping[str, str]) -> Reply:
        found = self._found(parts)
        refuse(holder.user not in found.pushers, self.missing())
        may = holder.scopes & {"repo", "repo:status", "public_repo", "statuses:write"}
        refuse(not may, _problem(403, "Resource not accessible by personal access token"))
        said = _described(call, "POST /repos/{owner}/{repo}/statuses/{sha}")
        sha, context, url = parts["sha"], said.get("context") or "default", said.get("target_url")
        refuse(sha not in found.commits, _problem(422, f"No commit found for SHA: {sha}"))
        long = f"description is too long (maximum is {DESCRIPTION} characters)"
        refuse(len(said.get("description") or "") > DESCRIPTION, _invalid("description", long))
        elsewhere = url and not url.startswith(("http://", "https://"))
        refuse(elsewhere, _invalid("target_url", "target_url must use http(s) scheme"))
        same = [one for one in found.statuses if (one["sha"], one["context"]) == (sha, context)]
        full = "This SHA and context has reached the maximum number of statuses."
        refuse(len(same) >= STATUSES, _invalid("base", full))
        kept = {
            "id": self.number(), "sha": sha, "context": context, "state": said["state"],
            "description": said.get("description"), "target_url": url, "created_at": _time(self.now()),
            "creator": {"login": holder.user},
        }  # fmt: skip
        found.statuses.append(kept)
        return Reply(201, kept)

    def _statuses(self, _call: Call, _holder: TokenHolder, parts: Mapping[str, str]) -> Reply:
        found = self._found(parts)
        return Reply(200, [one for one in reversed(found.statuses) if one["sha"] == parts["sha"]])

    def _check(self, call: Call, holder: TokenHolder, parts: Mapping[str, str]) -> Reply:
        found = self._checked(holder, parts)
        said = _described(call, "POST /repos/{owner}/{repo}/check-runs")
        refuse(said["head_sha"] not in found.commits, _problem(422, f"No commit found for SHA: {said['head_sha']}"))
        kept = {"id": self.number(), "status": "queued", "conclusion": None, **said}
        found.checks.append(_completed(kept))
        return Reply(201, kept)

    def _check_again(self, call: Call, holder: TokenHolder, parts: Mapping[str, str]) -> Reply:
        found = self._checked(holder, parts)
        said = _described(call, "PATCH /repos/{owner}/{repo}/check-runs/{check_run_id}")
        for kept in found.checks:
            if str(kept["id"]) == parts["id"]:
                kept.update(said)
                return Reply(200, _completed(kept))
        return self.missing()

    def _checked(self, holder: TokenHolder, parts: Mapping[str, str]) -> Repository:
        """Return the repository whose checks somebody may write."""
        found = self._found(parts)
        refuse(not holder.app, _problem(403, "You must authenticate via a GitHub App."))
        refuse("checks:write" not in holder.scopes, _problem(403, "Resource not accessible by integration"))
        return found

    def _checks(self, call: Call, _holder: TokenHolder, parts: Mapping[str, str]) -> Reply:
        found = self._found(parts)
        name = call.query.get("check_name")
        of_commit = [one for one in found.checks if one["head_sha"] == parts["sha"] and name in (None, one["name"])]
        return Reply(200, {"total_count": len(of_commit), "check_runs": list(reversed(of_commit))})


def _described(call: Call, about: str) -> dict[str, Any]:
    """Return the body of a call, which is as it is described."""
    said = call.said()
    if said is None:
        raise Refused(_problem(400, "Problems parsing JSON"))
    mistake = wrong("github", about, said)
    refuse(mistake, _problem(422, f"Invalid request.\n\n{mistake}"))
    unsaid = said.get("status") == "completed" and "conclusion" not in said
    refuse(unsaid, _problem(422, 'Invalid request.\n\nNo subschema in "anyOf" matched.'))
    return said


def _completed(check: dict[str, Any]) -> dict[str, Any]:
    if check.get("conclusion"):
        check["status"] = "completed"
    return check


def _time(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _problem(code: int, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(code, {"message": message, "documentation_url": "https://docs.github.com/rest"}, headers or {})


def _invalid(name: str, message: str) -> Reply:
    error = {"resource": "Status", "code": "custom", "field": name, "message": message}
    return Reply(422, {"message": "Validation Failed", "errors": [error]})
