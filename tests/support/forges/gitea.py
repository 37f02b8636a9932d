"""The API of Gitea and Forgejo, as far as the farm uses it; bodies are checked against Gitea's own description.

``described.py`` makes ``gitea.json`` of that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import define

from tests.support.forges.described import wrong
from tests.support.forges.forge import Call, Forge, Refused, Reply, Repository, Route, TokenHolder, refuse


@define(eq=False)
class Gitea(Forge):
    """Gitea in memory. Tokens have scopes such as ``write:repository``. It has no limit of its own, and says none."""

    def routes(self) -> Sequence[Route]:
        repo = "/api/v1/repos/{owner}/{repo}"
        return (
            Route("GET", repo, self._repository),
            Route("POST", repo + "/statuses/{sha}", self._status),
            Route("GET", repo + "/commits/{sha}/statuses", self._statuses),
        )

    def shown(self, call: Call) -> str:
        kind, _, token = call.headers.get("authorization", "").partition(" ")
        return token if kind.lower() in ("token", "bearer") else ""

    def unknown(self) -> Reply:
        return Reply(401, {"message": "invalid username, password or token", "url": "/api/swagger"})

    def missing(self) -> Reply:
        return Reply(404, {"message": "The target couldn't be found.", "url": "/api/swagger", "errors": []})

    def limits(self, left: int, reset: float) -> dict[str, str]:
        return {}

    def exceeded(self, reset: float) -> Reply:
        return Reply(429, {"message": "Too Many Requests"})  # from a proxy before it

    def _found(self, parts: Mapping[str, str]) -> Repository:
        return self.found(f"{parts['owner']}/{parts['repo']}")

    def _repository(self, _call: Call, holder: TokenHolder, parts: Mapping[str, str]) -> Reply:
        found = self._found(parts)
        refuse(not holder.scopes & {"read:repository", "write:repository"}, _too_little("read:repository"))
        push = holder.user in found.pushers
        return Reply(200, {"id": 1, "full_name": found.name, "permissions": {"pull": True, "push": push}})

    def _status(self, call: Call, holder: TokenHolder, parts: Mapping[str, str]) -> Reply:
        found, said = self._found(parts), call.said()
        refuse("write:repository" not in holder.scopes, _too_little("write:repository"))
        refuse(holder.user not in found.pushers, _problem(403, "user should have a permission to write to a repo"))
        if said is None:
            raise Refused(_problem(422, "it is no JSON"))
        mistake = wrong("gitea", "CreateStatusOption", said)
        refuse(mistake, _problem(422, mistake))
        refuse(parts["sha"] not in found.commits, self.missing())
        kept = {
            "id": self.number(), "sha": parts["sha"], "context": said.get("context") or "default",
            "state": said.get("state"), "status": said.get("state"), "description": said.get("description"),
            "target_url": said.get("target_url"), "creator": {"login": holder.user},
        }  # fmt: skip
        found.statuses.append(kept)
        return Reply(201, kept)

    def _statuses(self, _call: Call, _holder: TokenHolder, parts: Mapping[str, str]) -> Reply:
        return Reply(200, list(self._found(parts).newest(parts["sha"]).values()))


def _problem(code: int, message: str) -> Reply:
    return Reply(code, {"message": message, "url": "/api/swagger"})


def _too_little(scope: str) -> Reply:
    words = f"token does not have at least one of required scope(s), required=[{scope}]"
    return _problem(403, words)
