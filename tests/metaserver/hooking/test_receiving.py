"""Deliveries as pages pass them on: each is hinted at once, after it was written down; what is wrong is counted."""

import os
from typing import Any

import pytest
from attrs import evolve
from twisted.logger import capturedLogs

from buildtool.configuration.current import CurrentConfiguration
from buildtool.errors import StorageUnavailable
from buildtool.metaserver.hooking.receiving import WARNED, HookReceiver
from buildtool.model.hooks.secrets import HookSecrets
from buildtool.model.hooks.signing import HOOK_LIMIT
from buildtool.model.metrics.counts import Counts
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.protocol import codec
from buildtool.protocol.hooks.messages import DeliverHook, HookAnswered, packed_body
from tests.fakes_build import project
from tests.metaserver.test_build_servers import settings
from tests.support.hook_store import MemoryHooks
from tests.support.hooks import SECRET, body_of, commented, from_github, from_gitlab, gitlab_push, pull, push, small
from tests.support.inline import run
from tests.support.memory import WallClock

PAGES = Principal(PrincipalRole.PAGES)
OTHER = "another secret of another"


class Receiving:
    """A receiver with two projects, and what it told the triggers."""

    def __init__(self, **secrets: tuple[str, ...]) -> None:
        found = secrets or {"paint": (SECRET,), "brush": (OTHER, "the one before that")}
        paint = evolve(project(), path_to_url=lambda _: "https://github.com/anna/greeter")
        brush = evolve(project(), name="brush", path_to_url=lambda _: "git@github.com:anna/brush.git")
        self.settings = evolve(settings(), projects=(paint, brush), hook_secrets=HookSecrets({}, found))
        self.store, self.clock, self.counts = MemoryHooks(), WallClock(), Counts()
        self.begin()

    def begin(self) -> None:
        """Begin as a metaserver does that knows only what was written."""
        self.hinted: list[tuple[str, int]] = []
        self.receiver = HookReceiver(
            CurrentConfiguration(self.settings), self.store, self.clock, self.counts,
            lambda *hint: self.hinted.append(hint),
        )  # fmt: skip
        run(self.receiver.start())

    def deliver(
        self, body: bytes, headers: dict[str, str], to: str = "paint", *, size: int | None = None, by_tls: bool = True
    ) -> HookAnswered:
        """Deliver over the wire, and return the answer."""
        message = DeliverHook(to, small(headers), packed_body(body), len(body) if size is None else size, by_tls)
        sent = codec.decode(DeliverHook, codec.encode(message))
        return run(self.receiver.deliver(PAGES, sent))

    def figures(self) -> dict[tuple[str, ...], float]:
        """Return how often what became of deliveries."""
        return {one.labels: one.numbers[0] for one in self.counts.samples()}


def test_a_delivery_is_hinted_at_once_however_often_and_under_whichever_id_it_comes() -> None:
    farm, body = Receiving(), body_of(push())
    assert farm.deliver(body, from_github(body)).status == 202
    for again in (from_github(body), from_github(body, delivery="another"), from_github(body, delivery="a b")):
        told = farm.deliver(body, again)
        assert (told.status, told.words) == (202, "this was delivered before, and nothing is new")
    assert farm.hinted == [("paint", 1)]
    assert farm.figures() == {("paint", "taken"): 1, ("paint", "repeated"): 3}


def test_an_id_that_was_used_up_with_another_body_keeps_nothing_from_being_taken() -> None:
    farm, first, second = Receiving(), body_of(push()), body_of(push("refs/heads/a"))
    for body in (first, second):
        assert farm.deliver(body, from_github(body, delivery="the same")).status == 202
    assert farm.hinted == [("paint", 1), ("paint", 2)]


def test_two_pushes_of_gitlab_with_one_body_are_two_by_their_ids_and_a_retry_is_none() -> None:
    farm, body = Receiving(), body_of(gitlab_push())
    for delivery in ("a", "b", "b"):
        assert farm.deliver(body, from_gitlab(delivery=delivery)).status == 202
    assert farm.hinted == [("paint", 1), ("paint", 2)]


def test_what_is_refused_says_why_in_a_line_hints_nothing_and_is_counted_and_shown() -> None:
    farm, body = Receiving(), body_of(push())
    good = from_github(body)
    large = "x" * (HOOK_LIMIT + 1)
    for status, told in (
        (401, farm.deliver(body + b" ", good)),
        (401, farm.deliver(body, good | {"X-Hub-Signature-256": ""})),
        (401, farm.deliver(body, from_gitlab(), by_tls=False)),
        (400, farm.deliver(b"[]", from_github(b"[]"))),
        (400, farm.deliver(body, from_github(body, "pull_request"))),
        (413, farm.deliver(large.encode(), good)),
        (401, farm.deliver(body, good, "other")),
        (401, farm.deliver(body, good, "brush")),
    ):
        assert told.status == status, told
        assert "\n" not in told.words
    assert farm.hinted == []
    paint, brush = farm.receiver.status(["paint", "brush", "other"])
    counted = {one.reason: one.count for one in paint.refused}
    assert counted == {"forged": 1, "malformed": 2, "oversized": 1, "plain": 1, "unsigned": 1}
    assert (paint.taken, brush.refused[0].reason) == (None, "forged")
    assert "at most 1.0 MiB" in paint.why
    assert farm.figures()["other", "forged"] == 1


def test_a_project_that_takes_none_is_answered_as_one_whose_secret_is_another() -> None:
    farm, body = Receiving(), body_of(push())
    good = from_github(body)
    for headers, by_tls in ((good, True), (good | {"X-Hub-Signature-256": ""}, True), (from_gitlab(), False)):
        one, other = (farm.deliver(body, headers, to, by_tls=by_tls) for to in ("brush", "none-such"))
        assert one == other, "whoever may not see a project would learn that it is there"
    for to in ("brush", "none-such"):
        assert farm.deliver(b"x" * (HOOK_LIMIT + 1), good, to).status == 413


def test_where_no_project_takes_any_it_is_said() -> None:
    farm, body = Receiving(), body_of(push())
    farm.receiver.configuration.settings = evolve(farm.settings, hook_secrets=HookSecrets())
    for to in ("paint", ""):
        assert farm.deliver(body, from_github(body), to).status == 404


def test_who_holds_no_secret_does_not_fill_the_log() -> None:
    farm, body = Receiving(), body_of(push())
    kinds = (from_github(body, secret="wrong"), from_github(body) | {"X-Hub-Signature-256": ""})
    with capturedLogs() as events:
        for number in range(20):
            farm.deliver(body, kinds[number % 2])
        farm.clock.now += WARNED
        farm.deliver(body, kinds[1])
    assert sum("why" in event for event in events) == 2


def test_a_body_that_did_not_come_whole_to_the_metaserver_is_too_large_and_a_broken_one_is_refused() -> None:
    farm, body = Receiving(), body_of(push())
    assert farm.deliver(b"", from_github(body), size=900_000).status == 413
    dense = os.urandom(HOOK_LIMIT)  # it does not shrink, and the pages pass on none of it
    assert farm.deliver(dense, from_github(dense)).status == 413
    broken = DeliverHook("paint", small(from_github(body)), "no base64!", 10, by_tls=True)
    assert run(farm.receiver.deliver(PAGES, broken)).status == 400


def test_a_ping_and_what_builds_nothing_are_answered_and_use_nothing_up() -> None:
    farm, body = Receiving(), body_of({"zen": "Speak like a human.", "hook_id": 3})
    told = farm.deliver(body, from_github(body, "ping"))
    assert (told.status, "work" in told.words) == (200, True)
    star = body_of({"action": "created"})
    assert farm.deliver(star, from_github(star, "star")).status == 200
    real = body_of(push())
    assert farm.deliver(real, from_github(real, "star")).status == 200, "a header that nobody signed"
    assert farm.deliver(real, from_github(real)).status == 202
    assert farm.hinted == [("paint", 1)]


def test_pull_requests_and_comments_are_taken_too() -> None:
    farm = Receiving()
    for event, told in (("pull_request", pull()), ("issue_comment", commented())):
        body = body_of(told)
        assert farm.deliver(body, from_github(body, event)).status == 202
    (status, *_) = farm.receiver.status(["paint"])
    assert status.said == "GitHub: comment of anna on 5"


def test_what_cannot_be_written_down_is_not_answered_well_and_is_taken_when_it_comes_again() -> None:
    farm, body = Receiving(), body_of(push())
    farm.store.full = True
    with pytest.raises(StorageUnavailable):
        farm.deliver(body, from_github(body))
    assert farm.hinted == []
    farm.store.full = False
    assert farm.deliver(body, from_github(body)).status == 202
    assert farm.hinted == [("paint", 1)]


def test_a_metaserver_that_ended_before_a_look_hints_again_and_knows_what_came_before() -> None:
    farm, body = Receiving(), body_of(push())
    farm.deliver(body, from_github(body))
    farm.begin()
    assert farm.hinted == [("paint", 1)]
    assert farm.receiver.status(["paint"])[0].said == "GitHub: push of refs/heads/main"
    farm.deliver(body, from_github(body))
    assert farm.hinted == [("paint", 1)]
    run(farm.store.looked("paint", 1))
    farm.begin()
    assert farm.hinted == []


@pytest.mark.parametrize(
    ("secrets", "expected"),
    [
        ({"paint": (SECRET,), "brush": (OTHER,)}, 202),
        ({"brush": (SECRET,)}, 202),
        ({"paint": (SECRET,), "brush": (SECRET,)}, 202),
        ({"brush": (SECRET,), "third": (SECRET,)}, 404),
        ({"paint": (OTHER,), "brush": (OTHER,)}, 401),
    ],
)
def test_without_a_name_it_is_the_project_whose_secret_signed_it_and_of_several_the_one_with_its_repository(
    secrets: dict[str, Any], expected: int
) -> None:
    farm, body = Receiving(**secrets), body_of(push())
    assert farm.deliver(body, from_github(body), "").status == expected
    which = "paint" if secrets.get("paint") == (SECRET,) else "brush"
    assert farm.hinted == ([(which, 1)] if expected == 202 else [])
