"""Who a visitor is by a proxy's word: an address and its role, or nobody where it says nothing."""

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from buildtool.errors import Unauthorised, UsageError
from buildtool.model.access.proxies import NO_IDENTITY, ProxyIdentity
from buildtool.model.principal import Principal, PrincipalRole

NOBODY = Principal(PrincipalRole.VISITOR, address="192.0.2.7")
IDENTITY = ProxyIdentity.of({"header": "X-Forwarded-Email", "roles": {"Anna@example.org": "operator"}})


def test_who_has_logged_in_at_the_proxy_is_a_requester_by_their_address_unless_a_role_is_said() -> None:
    ben = IDENTITY.principal(IDENTITY.said([" ben@Example.org "]), NOBODY)
    assert (ben.role, ben.owner, ben.name) == (PrincipalRole.REQUESTER, "ben@example.org", "ben@example.org")
    assert ben.address == NOBODY.address
    for written in ("anna@example.org", "ANNA@example.org"):
        assert IDENTITY.principal(IDENTITY.said([written]), NOBODY).role is PrincipalRole.OPERATOR


def test_a_proxy_that_says_nothing_has_a_visitor() -> None:
    for said in ([], [""], ["  "]):
        assert IDENTITY.principal(IDENTITY.said(said), NOBODY) == NOBODY
    assert NO_IDENTITY.principal("anna@example.org", NOBODY) == NOBODY


@pytest.mark.parametrize(
    "said",
    [["anna"], ["anna@example.org, ben@example.org"], ["anna@example.org", "ben@example.org"], ["a@b\r\nX: y"], ["-"]],
)
def test_what_is_no_one_address_is_refused_in_a_line_that_names_the_header(said: list[str]) -> None:
    with pytest.raises(Unauthorised, match=r"^the proxy says in X-Forwarded-Email .*not believed: [^\n]*$"):
        IDENTITY.said(said)


@given(st.text(min_size=1, max_size=5), st.text(min_size=1, max_size=5))
@example("\u212aate", "")
@example("\u212b", "K")
def test_whoever_has_an_address_of_other_letters_is_not_who_has_one_of_plain_ones(one: str, other: str) -> None:
    """Where the proxy tells two people apart they are not one here."""
    local = one + other
    try:
        found = IDENTITY.said([f"{local}@example.org"])
    except Unauthorised:
        return
    assert local.strip().isascii() or not found.isascii()


@given(st.lists(st.text(max_size=30), max_size=3))
def test_whatever_a_header_has_is_one_address_or_nobody_or_refused(said: list[str]) -> None:
    try:
        found = IDENTITY.said(said)
    except Unauthorised:
        return
    assert found == "" or (found.count("@") == 1 and found.isprintable())


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("X-User", "it is a dictionary such as"),
        ({"heading": "X-User"}, "it is a dictionary such as"),
        ({"header": "X-Forwarded-For"}, "is no header that a proxy says in who visits"),
        ({"header": "Cookie"}, "is no header that a proxy says in who visits"),
        ({"header": "X User"}, "is no header that a proxy says in who visits"),
        ({"header": "X-User", "roles": ["anna@example.org"]}, "is a dictionary of at most"),
        ({"header": "X-User", "roles": {"anna": "operator"}}, "is no e-mail address"),
        (
            {"header": "X-User", "roles": {"anna@example.org": "root"}},
            "visitor, requester, observer, operator",
        ),
    ],
)
def test_a_setting_that_is_wrong_is_one_line_that_says_what_would_be_right(value: object, words: str) -> None:
    with pytest.raises(UsageError, match=words) as wrong:
        ProxyIdentity.of(value)
    assert "\n" not in str(wrong.value)


def test_what_was_understood_is_told() -> None:
    assert IDENTITY.words() == [
        "who visits      as a proxy says in X-Forwarded-Email: requester",
        "who visits      anna@example.org: operator",
    ]
    assert NO_IDENTITY.words() == []
