"""What makes two deliveries one: the bytes that are signed, or, where the whole request is vouched for, its id."""

from buildtool.model.hooks.delivery import mark_of
from tests.support.hooks import from_github, from_gitlab, small


def test_a_delivery_is_known_by_what_its_secret_vouches_for() -> None:
    body = b"{}"
    signed = {
        mark_of(small(from_github(body, event, delivery)), body) for event, delivery in (("push", "1"), ("x", "2"))
    }
    assert len(signed) == 1
    assert mark_of(small(from_github(body)), b"{ }") not in signed
    by_id = {mark_of(small(from_gitlab(delivery=one)), body) for one in ("1", "2")}
    assert len(by_id) == 2
    assert mark_of({"x-gitlab-event": "Push Hook"}, body) == signed.pop(), "without an id it is the bytes there too"
