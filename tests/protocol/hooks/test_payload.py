"""What bodies of deliveries say: recorded ones by hand from the forges' documentation, and whatever else may come."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import DecodeError
from buildtool.model.hooks.events import (
    Commented,
    HookEvent,
    Pinged,
    PullAction,
    PullMoved,
    RefsMoved,
    Unheeded,
    words_of_event,
)
from buildtool.model.hooks.signing import ForgeKind
from buildtool.protocol.hooks.payload import TEXT, event_in, payload_of, repositories_in, repository_key
from tests.support.hooks import B, body_of, commented, created, gitlab_merge, gitlab_note, gitlab_push, pull, push

GITHUB, GITLAB, GITEA, GENERIC = ForgeKind.GITHUB, ForgeKind.GITLAB, ForgeKind.GITEA, ForgeKind.GENERIC
JSON = "application/json"
PING = {"zen": "Keep it logically awesome.", "hook_id": 30, "hook": {"type": "Repository"}}
KINDS = ("push", "create", "pull_request", "issue_comment", "ping")


def read(told: dict[str, Any], event: str, kind: ForgeKind = GITHUB) -> HookEvent:
    return event_in(kind, event, payload_of(body_of(told), JSON))


def test_what_each_forge_says_of_pushes_tags_pulls_and_comments_is_the_same() -> None:
    main, tag = RefsMoved(("refs/heads/main",)), RefsMoved(("refs/tags/v1",))
    assert read(push(), "push") == read(push(), "push", GITEA) == read(gitlab_push(), "Push Hook", GITLAB) == main
    assert read(push("refs/tags/v1"), "push") == read(created("v1", "tag"), "create") == tag
    assert read(gitlab_push("refs/tags/v1"), "Tag Push Hook", GITLAB) == tag
    assert read(created("main", "branch"), "delete") == main
    assert read(created("refs/heads/main", "branch"), "create", GITEA) == main
    assert read(pull(), "pull_request") == PullMoved(5, PullAction.OPENED, B, "main", "mallory", foreign=True)
    assert read(gitlab_merge(), "Merge Request Hook", GITLAB) == PullMoved(5, PullAction.OPENED, B, "main")
    said = Commented(5, 99, "anna", f"build {B}", pull=True, made=True)
    assert read(commented(), "issue_comment") == read(commented(), "issue_comment", GITEA) == said
    note = read(gitlab_note(), "Note Hook", GITLAB)
    assert note == Commented(5, 1244, "anna", f"build {B}", pull=True, made=True)
    assert read(PING, "ping") == Pinged()
    assert isinstance(read({"action": "started"}, "star"), Unheeded)


def test_what_happened_to_a_pull_request_has_one_word_whatever_a_forge_calls_it() -> None:
    words = {
        "opened": PullAction.OPENED, "reopened": PullAction.OPENED, "synchronize": PullAction.MOVED,
        "synchronized": PullAction.MOVED, "closed": PullAction.CLOSED, "labeled": PullAction.OTHER,
    }  # fmt: skip
    for word, action in words.items():
        found = read(pull(word), "pull_request")
        assert isinstance(found, PullMoved)
        assert found.action is action
    moved = read(gitlab_merge("update", oldrev="c" * 40), "Merge Request Hook", GITLAB)
    retitled, merged = (read(gitlab_merge(one), "Merge Request Hook", GITLAB) for one in ("update", "merge"))
    actions = [one.action for one in (moved, retitled, merged) if isinstance(one, PullMoved)]
    assert actions == [PullAction.MOVED, PullAction.OTHER, PullAction.CLOSED]


def test_a_pull_request_is_foreign_unless_its_branch_is_in_the_same_repository() -> None:
    own = read(pull(fork=False), "pull_request")
    assert isinstance(own, PullMoved)
    assert not own.foreign
    told = pull(fork=False)
    told["pull_request"]["head"]["repo"] = None
    gone = read(told, "pull_request")
    assert isinstance(gone, PullMoved)
    assert gone.foreign
    assert isinstance(read(gitlab_merge(source_project_id=15), "Merge Request Hook", GITLAB), PullMoved)


def test_a_comment_that_was_changed_is_not_new_and_a_login_is_never_somebody_elses() -> None:
    changed = read(commented(action="edited"), "issue_comment")
    assert isinstance(changed, Commented)
    assert not changed.made
    told = commented("x" * 70_000)
    told["comment"]["user"]["login"] = "an\u200bna"
    found = read(told, "issue_comment")
    assert isinstance(found, Commented)
    assert (found.login, len(found.text)) == ("", TEXT)


def test_the_body_of_one_event_passes_for_no_other() -> None:
    bodies = {
        "push": push(), "create": created("v1", "tag"), "pull_request": pull(), "issue_comment": commented(),
        "ping": PING,
    }  # fmt: skip
    for real, body in bodies.items():
        for said in KINDS:
            if said != real:
                with pytest.raises(DecodeError):
                    read(body, said)


def test_a_form_says_what_its_payload_does() -> None:
    form = f"payload={quote(json.dumps(push()))}".encode()
    assert payload_of(form, "application/x-www-form-urlencoded; charset=utf-8") == push()
    for bad in (b"", b"payload=", b"other=1", b"payload={}&payload={}", b"payload=%ff", b"payload=\xff", b"&" * 50):
        with pytest.raises(DecodeError):
            payload_of(bad, "application/x-www-form-urlencoded")


def test_another_sender_says_which_refs_or_only_that_something_happened() -> None:
    assert read({"ref": "refs/heads/a"}, "", GENERIC) == RefsMoved(("refs/heads/a",))
    assert read({"refs": ["refs/heads/a", "refs/tags/b"]}, "", GENERIC) == RefsMoved(("refs/heads/a", "refs/tags/b"))
    assert read({"state": "succeeded"}, "", GENERIC) == RefsMoved()
    for bad in ({"ref": 1}, {"refs": "refs/heads/a"}, {"refs": ["main"]}, {"refs": ["refs/heads/a"] * 101}):
        with pytest.raises(DecodeError):
            read(bad, "", GENERIC)


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"null", b"{" * 100_000, b'{"a":' * 40 + b"1" + b"}" * 40, b'{"a":1,"a":2}', b'{"a":"\\ud800"}',
     b'{"a":1e999}', b'{"a":' + b"9" * 5_000 + b"}", b'{"a":NaN}', b"\xff", b'{"a":[' + b"1," * 300_000 + b"1]}"],
)  # fmt: skip
def test_a_text_that_is_no_object_within_bounds_is_refused(text: bytes) -> None:
    with pytest.raises(DecodeError):
        payload_of(text, JSON)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def spoilt(draw: st.DrawFn) -> tuple[ForgeKind, str, dict[str, Any]]:
    """Return a delivery in which one value of a real one is another."""
    kind, event, told = draw(
        st.sampled_from(
            [(GITHUB, "push", push()), (GITHUB, "create", created("v1", "tag")), (GITHUB, "pull_request", pull()),
             (GITEA, "issue_comment", commented()), (GITLAB, "Merge Request Hook", gitlab_merge()),
             (GITLAB, "Note Hook", gitlab_note()), (GITLAB, "Push Hook", gitlab_push())]
        )
    )  # fmt: skip
    told = json.loads(json.dumps(told))
    at = told
    while True:
        name = draw(st.sampled_from(sorted(at)))
        if isinstance(at[name], dict) and draw(st.booleans()):
            at = at[name]
            continue
        at[name] = draw(VALUES)
        return kind, event, told


@given(spoilt())
def test_a_body_with_something_else_in_a_place_is_read_or_refused(case: tuple[ForgeKind, str, dict[str, Any]]) -> None:
    kind, event, told = case
    try:
        said = words_of_event(event_in(kind, event, told))
    except DecodeError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 1_000


def test_a_repository_is_the_same_by_each_of_its_addresses() -> None:
    same = {
        "https://github.com/Anna/greeter", "https://github.com/anna/greeter.git", "git@github.com:anna/greeter.git",
        "ssh://git@github.com/anna/greeter", "git://github.com/anna/greeter.git/", "https://u:p@github.com/anna/greeter",
    }  # fmt: skip
    assert set(map(repository_key, same)) == {"github.com/anna/greeter"}
    assert repositories_in(push()) == {"github.com/anna/greeter"}
    assert repositories_in(gitlab_push()) == {"gitlab.example.org/anna/greeter"}
    assert repositories_in({"repository": 3, "project": None}) == frozenset()
    assert repository_key("https://[x") == repository_key("https://github.com") == ""
    assert repository_key("/srv/greeter.git") == repository_key("file:///srv/greeter") == "/srv/greeter"
