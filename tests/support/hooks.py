"""Deliveries as forges make them, written by hand from their documentation, and signed as they sign them."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

SECRET = "It's a Secret to Everybody"
A, B = "a" * 40, "b" * 40
REPOSITORY = {
    "id": 35129377, "full_name": "anna/greeter", "html_url": "https://github.com/anna/greeter",
    "clone_url": "https://github.com/anna/greeter.git", "ssh_url": "git@github.com:anna/greeter.git",
    "url": "https://github.com/anna/greeter", "private": False, "pushed_at": 1732800000,
}  # fmt: skip
USER = {"login": "mallory", "id": 7, "type": "User"}


def push(ref: str = "refs/heads/main", **more: Any) -> dict[str, Any]:
    """Return the body of a push, as GitHub and Gitea have it."""
    commit = {"id": B, "message": "It greets \U0001f600", "added": [], "modified": ["main.c"], "removed": []}
    return {
        "ref": ref, "before": A, "after": B, "created": False, "deleted": False, "forced": False, "compare": "",
        "commits": [commit], "head_commit": commit, "repository": REPOSITORY, "pusher": {"name": "anna"},
        "sender": USER, **more,
    }  # fmt: skip


def created(ref: str, kind: str) -> dict[str, Any]:
    """Return the body of GitHub's event ``create``."""
    return {"ref": ref, "ref_type": kind, "master_branch": "main", "repository": REPOSITORY, "sender": USER}


def pull(action: str = "opened", *, fork: bool = True) -> dict[str, Any]:
    """Return the body of GitHub's event ``pull_request``."""
    theirs = {**REPOSITORY, "id": 9, "full_name": "mallory/greeter", "fork": True} if fork else REPOSITORY
    head, base = {"ref": "topic", "sha": B, "repo": theirs}, {"ref": "main", "sha": A, "repo": REPOSITORY}
    about = {"number": 5, "state": "open", "user": USER, "head": head, "base": base, "title": "Better", "body": None}
    return {"action": action, "number": 5, "pull_request": about, "repository": REPOSITORY, "sender": USER}


def commented(text: str = f"build {B}", action: str = "created") -> dict[str, Any]:
    """Return the body of GitHub's event ``issue_comment`` on a pull request."""
    issue = {"number": 5, "user": USER, "pull_request": {"url": "https://api.github.com/repos/anna/greeter/pulls/5"}}
    comment = {"id": 99, "user": {"login": "anna", "id": 8}, "body": text, "author_association": "OWNER"}
    return {"action": action, "issue": issue, "comment": comment, "repository": REPOSITORY, "sender": USER}


GITLAB_PROJECT = {
    "id": 15, "name": "greeter", "web_url": "https://gitlab.example.org/anna/greeter",
    "git_http_url": "https://gitlab.example.org/anna/greeter.git", "default_branch": "main",
    "git_ssh_url": "git@gitlab.example.org:anna/greeter.git",
}  # fmt: skip


def gitlab_push(ref: str = "refs/heads/main") -> dict[str, Any]:
    """Return the body of GitLab's push or tag push."""
    kind = "tag_push" if ref.startswith("refs/tags/") else "push"
    return {
        "object_kind": kind, "event_name": kind, "before": A, "after": B, "ref": ref, "checkout_sha": B,
        "project_id": 15, "user_username": "anna", "project": GITLAB_PROJECT,
        "commits": [{"id": B, "message": "It greets"}],
    }  # fmt: skip


def gitlab_merge(action: str = "open", **more: Any) -> dict[str, Any]:
    """Return the body of GitLab's merge request hook."""
    about = {
        "id": 99, "iid": 5, "target_branch": "main", "source_branch": "topic", "source_project_id": 14,
        "target_project_id": 15, "state": "opened", "last_commit": {"id": B, "message": "Better"},
        "action": action, **more,
    }  # fmt: skip
    return {"object_kind": "merge_request", "project": GITLAB_PROJECT, "object_attributes": about}


def gitlab_note(text: str = f"build {B}") -> dict[str, Any]:
    """Return the body of GitLab's note hook on a merge request."""
    about = {"id": 1244, "note": text, "noteable_type": "MergeRequest", "action": "create", "project_id": 15}
    return {
        "object_kind": "note", "user": {"id": 1, "username": "anna"}, "project": GITLAB_PROJECT,
        "object_attributes": about, "merge_request": {"iid": 5, "last_commit": {"id": B}},
    }  # fmt: skip


def body_of(told: Mapping[str, Any]) -> bytes:
    """Return a payload as it is sent."""
    return json.dumps(told).encode()


def hex_of(body: bytes, secret: str = SECRET) -> str:
    """Return the signature of a body as the documentation of GitHub says how to make it."""
    return hmac.new(secret.encode("utf-8"), msg=body, digestmod=hashlib.sha256).hexdigest()


def from_github(
    body: bytes, event: str = "push", delivery: str = "72d3162e-cc78-11e3", secret: str = SECRET
) -> dict[str, str]:
    """Return the headers that GitHub sends with a body."""
    return {
        "X-GitHub-Event": event, "X-GitHub-Delivery": delivery, "X-Hub-Signature-256": f"sha256={hex_of(body, secret)}",
        "Content-Type": "application/json", "User-Agent": "GitHub-Hookshot/044aadd",
    }  # fmt: skip


def from_gitea(
    body: bytes, event: str = "push", delivery: str = "f6266f16-1bf3", secret: str = SECRET, *, forgejo: bool = False
) -> dict[str, str]:
    """Return the headers that Gitea, or Forgejo, sends with a body."""
    signed = hex_of(body, secret)
    found = {
        "X-Gitea-Event": event, "X-Gitea-Delivery": delivery, "X-Gitea-Signature": signed, "X-GitHub-Event": event,
        "X-GitHub-Delivery": delivery, "X-Hub-Signature-256": f"sha256={signed}", "Content-Type": "application/json",
    }  # fmt: skip
    own = {"X-Forgejo-Event": event, "X-Forgejo-Delivery": delivery, "X-Forgejo-Signature": signed}
    return found | own if forgejo else found


def from_gitlab(event: str = "Push Hook", delivery: str = "c2675c66-7e6e", secret: str = SECRET) -> dict[str, str]:
    """Return the headers that GitLab sends."""
    return {
        "X-Gitlab-Event": event, "X-Gitlab-Token": secret, "Idempotency-Key": delivery,
        "X-Gitlab-Event-UUID": "13792a34-cac6", "Content-Type": "application/json",
    }  # fmt: skip


def small(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers by names in small letters, as they are read."""
    return {name.lower(): value for name, value in headers.items()}
