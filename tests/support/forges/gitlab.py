"""GitLab's API, as far as the farm uses it, by its documentation: no description of it is published as a package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define

from tests.support.forges.forge import Call, Forge, Reply, Repository, Route, TokenHolder, refuse

LONGEST = 255
"""The longest name and description of a status, in characters."""

STATES = frozenset({"pending", "running", "success", "failed", "canceled", "skipped"})
EVENTS = {"pending": "enqueue", "running": "run"}
OPEN = frozenset({"pending", "running"})


@define(eq=False)
class GitLab(Forge):
    """GitLab in memory. Tokens have the scope ``api``, or one that is too little."""

    def routes(self) -> Sequence[Route]:
        project = "/api/v4/projects/{id}"
        return (
            Route("GET", project, self._project),
            Route("POST", project + "/statuses/{sha}", self._status),
            Route("GET", project + "/repository/commits/{sha}/statuses", self._statuses),
        )

    def shown(self, call: Call) -> str:
        kind, _, token = call.headers.get("authorization", "").partition(" ")
        return call.headers.get("private-token", "") or (token if kind.lower() == "bearer" else "")

    def unknown(self) -> Reply:
        return Reply(401, {"message": "401 Unauthorized"})

    def missing(self) -> Reply:
        return Reply(404, {"message": "404 Project Not Found"})

    def limits(self, left: int, reset: float) -> dict[str, str]:
        said = {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(left),
            "RateLimit-Reset": str(int(reset)),
        }
        return {**said, "RateLimit-Observed": str(self.limit - left)}

    def exceeded(self, reset: float) -> Reply:
        return Reply(429, "Retry later", {"Retry-After": str(max(1, int(reset - self.now())))})

    def _project(self, _call: Call, holder: TokenHolder, parts: Mapping[str, str]) -> Reply:
        found = self.found(parts["id"])
        refuse(not holder.scopes & {"api", "read_api"}, _too_little("api read_api"))
        level = 30 if holder.user in found.pushers else 10
        said = {"project_access": {"access_level": level}, "group_access": None}
        return Reply(200, {"id": 1, "path_with_namespace": found.name, "permissions": said})

    def _status(self, call: Call, holder: TokenHolder, parts: Mapping[str, str]) -> Reply:
        found, said = self.found(parts["id"]), call.said() or {}
        refuse("api" not in holder.scopes, _too_little("api"))
        refuse(holder.user not in found.pushers, Reply(403, {"message": "403 Forbidden"}))
        refuse("state" not in said, Reply(400, {"error": "state is missing"}))
        refuse(said.get("state") not in STATES, Reply(400, {"error": "state does not have a valid value"}))
        refuse(parts["sha"] not in found.commits, Reply(404, {"message": "404 Commit Not Found"}))
        name = said.get("name") or said.get("context") or "default"
        for what, text in (("name", name), ("description", said.get("description") or "")):
            long = {what: [f"is too long (maximum is {LONGEST} characters)"]}
            refuse(len(text) > LONGEST, Reply(400, {"message": long}))
        url = said.get("target_url")
        blocked = {"target_url": ["is blocked: Only allowed schemes are http, https"]}
        refuse(url and not url.startswith(("http://", "https://")), Reply(400, {"message": blocked}))
        return self._moved(found, holder, parts["sha"], name, said)

    def _moved(self, found: Repository, holder: TokenHolder, sha: str, name: str, said: dict[str, Any]) -> Reply:
        """Move what is open of a name on, or begin anew. What is open is not begun once more."""
        state = said["state"]
        before = found.newest(sha).get(name)
        opened = before is not None and before["state"] in OPEN
        if before is not None and opened and state in EVENTS and (state, before["state"]) != ("running", "pending"):
            event = EVENTS[state]
            words = (
                f"Cannot transition status via :{event} from :{before['state']} (Reason(s): Status cannot transition"
            )
            return Reply(400, {"message": f'{words} via "{event}")'})
        kept = {
            "id": before["id"] if before is not None and opened else self.number(),
            "sha": sha, "context": name, "name": name, "state": state, "status": state,
            "description": said.get("description"), "target_url": said.get("target_url"),
            "ref": said.get("ref"), "author": {"username": holder.user},
        }  # fmt: skip
        found.statuses.append(kept)
        return Reply(201, kept)

    def _statuses(self, _call: Call, _holder: TokenHolder, parts: Mapping[str, str]) -> Reply:
        return Reply(200, list(self.found(parts["id"]).newest(parts["sha"]).values()))


def _too_little(scope: str) -> Reply:
    words = "The request requires higher privileges than provided by the access token."
    return Reply(403, {"error": "insufficient_scope", "error_description": words, "scope": scope})
