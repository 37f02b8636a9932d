"""A token does what its holder may and no more, and ends with what it was made with, or by its holder or operators."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import NotFound, Unauthorised, UsageError
from buildtool.model.access import tokens
from buildtool.model.access.identities import Identity, KeyState, token_digest
from buildtool.model.access.rights import RIGHTS, Act
from buildtool.model.access.tokens import MOST, SESSION_LIFE, Token, TokenBook, TokenKind, TokenWish
from buildtool.model.principal import Principal, PrincipalRole, Scope

NOW = 1_790_000_000.0
DAY = 86_400.0
STRANGER = Principal(PrincipalRole.VISITOR, address="192.0.2.7")
ANN = Principal(PrincipalRole.REQUESTER, "ann", key="a" * 64, owner="ann@example.org", limits=Scope(("lua",)))
BEN = Principal(PrincipalRole.REQUESTER, "ben@example.org", owner="ben@example.org")
ROOT = Principal(PrincipalRole.OPERATOR, "root (uid 0)")
IDENTITY = Identity(
    ANN.key, "ann", ANN.role, KeyState.ACTIVE, NOW, "", NOW + DAY, ANN.owner, limits=ANN.limits
)  # fmt: skip
HOLDERS = (ANN, BEN, ROOT)


def make(book: TokenBook, by: Principal, text: str = "t", wish: TokenWish | None = None, now: float = NOW) -> Token:
    token = tokens.made(book, by, wish or TokenWish("nightly", DAY), token_digest(text), "life", now)
    book.take([token])
    return token


def sign_in(book: TokenBook, by: Principal, text: str = "s", now: float = NOW) -> Token:
    rows = tokens.session_for(book, by, "Firefox", token_digest(text), "life", now)
    book.take(rows)
    return rows[-1]


def shown(book: TokenBook, text: str, now: float = NOW, identity: Identity | None = IDENTITY) -> Principal:
    return tokens.bearer(book, token_digest(text), identity, STRANGER, now)


@pytest.mark.parametrize("by", HOLDERS)
def test_who_shows_a_token_is_its_holder_and_nothing_that_nobody_made_is_one(by: Principal) -> None:
    book = TokenBook()
    make(book, by)
    found = shown(book, "t")
    assert (found.role, found.name, found.owner, found.key) == (by.role, by.name, by.owner, by.key)
    assert found.limits.projects == by.limits.projects
    assert (found.address, found.trusted) == (STRANGER.address, False)
    for wrong in ("", "T", "t ", token_digest("t")):
        with pytest.raises(Unauthorised, match="none that holds here"):
            shown(book, wrong)
    with pytest.raises(Unauthorised, match="none that holds here"):
        shown(book, "t", NOW + DAY)


def test_a_token_of_a_key_that_is_revoked_or_changed_holds_no_more_than_the_key() -> None:
    book = TokenBook()
    make(book, ANN)
    for gone in (None, evolve(IDENTITY, state=KeyState.REVOKED), evolve(IDENTITY, key="b" * 64)):
        with pytest.raises(Unauthorised, match="was revoked"):
            shown(book, "t", identity=gone)
    assert shown(book, "t", identity=evolve(IDENTITY, role=PrincipalRole.OBSERVER)).role is PrincipalRole.OBSERVER


@given(st.lists(st.sampled_from([act for act in Act if act.word != "join"]), unique=True, min_size=1), st.data())
def test_a_limited_token_may_only_what_its_holder_may_of_it(acts: list[Act], data: st.DataObject) -> None:
    by, book = data.draw(st.sampled_from(HOLDERS)), TokenBook()
    make(book, by, wish=TokenWish("some", DAY, tuple(act.word for act in acts)))
    limited = shown(book, "t")
    own = {Act.SEE_STATIC, Act.SIGN_IN}
    for act in Act:
        may = [RIGHTS.allows(who, act) for who in (by, limited)]
        assert may[1] == (may[0] and (act in acts or act in own)), act


def test_what_is_made_with_a_limited_token_may_no_more_than_that() -> None:
    book = TokenBook()
    make(book, ANN, wish=TokenWish("some", DAY, ("submit", "hold tokens")))
    limited = shown(book, "t")
    with pytest.raises(Unauthorised, match="no other that may do more"):
        make(book, limited, "u", TokenWish("all of it", DAY, ("submit", "cancel")))
    assert make(book, limited, "u").acts == ("submit", "hold tokens")


def test_a_token_makes_none_that_holds_longer_than_itself_and_a_session_by_mail_does() -> None:
    book = TokenBook()
    short = make(book, ANN, wish=TokenWish("for one build", 60.0))
    assert make(book, shown(book, "t"), "u", TokenWish("for ever", DAY)).expires == short.expires
    assert make(book, shown(book, "t"), "v", TokenWish("shorter", 10.0), NOW + 1).expires == NOW + 11
    sign_in(book, shown(book, "t"))
    assert make(book, shown(book, "s"), "w", TokenWish("in a session of it", DAY)).expires == short.expires
    session = sign_in(book, BEN, "by mail")
    lasting = TokenWish("a year", 365 * DAY)
    assert make(book, shown(book, "by mail"), "x", lasting).expires == NOW + 365 * DAY > session.expires


@pytest.mark.parametrize("wish", [TokenWish(" \n", DAY), TokenWish("x", 0.5), TokenWish("x", 400 * DAY)])
def test_what_can_be_no_token_is_refused(wish: TokenWish) -> None:
    with pytest.raises(UsageError):
        make(TokenBook(), ANN, wish=wish)


def test_nobody_in_particular_has_tokens_and_nobody_too_many() -> None:
    book = TokenBook()
    with pytest.raises(UsageError, match="no key says who you are"):
        make(book, Principal(PrincipalRole.REQUESTER, trusted=True))
    for number in range(MOST):
        make(book, ANN, str(number))
    with pytest.raises(UsageError, match="revoke one"):
        make(book, ANN, "more")
    make(book, BEN)


def test_of_too_many_sessions_the_oldest_ends() -> None:
    book = TokenBook()
    for number in range(MOST + 3):
        sign_in(book, BEN, f"s{number}", NOW + number)
    assert len(book.of) == MOST
    with pytest.raises(Unauthorised):
        shown(book, "s0", NOW + MOST)
    assert shown(book, f"s{MOST}", NOW + MOST).name == BEN.name


def test_a_session_lasts_no_longer_than_the_token_it_was_made_with_and_ends_with_it() -> None:
    book = TokenBook()
    token = make(book, ANN)
    session = sign_in(book, shown(book, "t"))
    assert session.expires == token.expires < NOW + SESSION_LIFE
    assert session.kind is TokenKind.SESSION
    later = make(book, shown(book, "s"), "u")
    other = make(book, ANN, "v")
    book.take(tokens.ended(book, [token]))
    assert set(book.of) == {other.digest}
    assert later.digest not in book.of, "what was made in a session of it too"


def test_what_was_made_in_a_session_by_mail_outlives_the_session() -> None:
    book = TokenBook()
    session = sign_in(book, BEN)
    assert session.expires == NOW + SESSION_LIFE
    make(book, shown(book, "s"))
    book.take(tokens.ended(book, [session]))
    assert shown(book, "t").name == BEN.name


def test_a_token_is_named_by_its_holder_and_by_operators_only() -> None:
    book = TokenBook()
    token = make(book, ANN)
    assert tokens.named(book, ANN, token.id) == tokens.named(book, ROOT, token.id) == token
    for by in (BEN, evolve(ANN, key="b" * 64), evolve(ROOT, role=PrincipalRole.REQUESTER)):
        with pytest.raises(NotFound):
            tokens.named(book, by, token.id)
    assert tokens.of_name(book, "ANN@example.org") == tokens.of_name(book, "ann") == [token]
    assert tokens.of_name(book, "") == []


def test_what_has_run_out_or_is_of_another_life_is_swept() -> None:
    book = TokenBook()
    make(book, ANN)
    make(book, ANN, "u", TokenWish("long", 2 * DAY))
    assert not tokens.expired(book, "life", NOW)
    assert len(tokens.expired(book, "life", NOW + DAY)) == 1
    assert len(tokens.expired(book, "another", NOW)) == 2


@given(st.binary(min_size=1, max_size=32), st.text(max_size=20), st.text(max_size=60))
def test_only_the_metaserver_signs_sessions(secret: bytes, random: str, other: str) -> None:
    text = tokens.signed(secret, random)
    tokens.check_signed(secret, text)
    with pytest.raises(Unauthorised):
        tokens.check_signed(secret + b"!", text)
    if f"bs_{other}" != tokens.signed(secret, other.rpartition(".")[0]):
        with pytest.raises(Unauthorised):
            tokens.check_signed(secret, f"bs_{other}")


def test_acts_are_known_by_their_words() -> None:
    assert tokens.read_acts(["submit", "submit", "see build"], RIGHTS) == ("submit", "see build")
    with pytest.raises(UsageError, match="did you mean 'submit'"):
        tokens.read_acts(["submitt"], RIGHTS)
