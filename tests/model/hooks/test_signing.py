"""Whose word a delivery is: as the documentation of each forge says, over the very bytes, and no other way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.hooks.signing import ForgeKind, HookRefusal, event_of, forge_of, id_of, proved
from tests.support.hooks import SECRET, body_of, from_gitea, from_github, from_gitlab, hex_of, push, small

BODY = body_of(push())
GENERIC = {"X-Signature-256": f"sha256={hex_of(BODY)}", "X-Delivery-Id": "1", "X-Event": "push"}
ALL = {
    ForgeKind.GITHUB: from_github(BODY), ForgeKind.GITEA: from_gitea(BODY), ForgeKind.GENERIC: GENERIC,
    ForgeKind.FORGEJO: from_gitea(BODY, forgejo=True), ForgeKind.GITLAB: from_gitlab(),
}  # fmt: skip


def why(headers: dict[str, str], body: bytes = BODY, *secrets: str, by_tls: bool = True) -> HookRefusal | None:
    found = proved(small(headers), body, secrets or (SECRET,), by_tls=by_tls)
    return found.why if found is not None else None


def test_githubs_own_example_holds() -> None:
    """The example of "Validating webhook deliveries" in GitHub's documentation."""
    signed = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    headers = {"X-GitHub-Event": "push", "X-Hub-Signature-256": signed}
    assert why(headers, b"Hello, World!") is None


@pytest.mark.parametrize("kind", ALL)
def test_each_forge_is_believed_by_its_own_signature_with_either_secret_and_with_no_other(kind: ForgeKind) -> None:
    headers = ALL[kind]
    assert forge_of(small(headers)) is kind
    assert why(headers) is None
    assert why(headers, BODY, "the new one", SECRET) is None
    assert why(headers, BODY, "another", "one more") is HookRefusal.FORGED
    assert why(headers, BODY, SECRET[:-1]) is HookRefusal.FORGED


@pytest.mark.parametrize("kind", [one for one in ALL if one is not ForgeKind.GITLAB])
@given(at=st.integers(0, len(BODY) - 1), bit=st.integers(0, 7))
def test_no_bit_of_what_is_signed_can_be_another(kind: ForgeKind, at: int, bit: int) -> None:
    changed = bytearray(BODY)
    changed[at] ^= 1 << bit
    assert why(ALL[kind], bytes(changed)) is HookRefusal.FORGED


@given(said=st.text(st.characters(exclude_categories=()), max_size=90), kind=st.sampled_from(list(ALL)))
def test_whatever_stands_in_place_of_a_signature_is_refused_in_one_line(said: str, kind: ForgeKind) -> None:
    headers = {name: said if "Signature" in name or "Token" in name else value for name, value in ALL[kind].items()}
    found = proved(small(headers), BODY, (SECRET,), by_tls=True)
    assert found is not None
    assert found.why in (HookRefusal.FORGED, HookRefusal.UNSIGNED)
    assert "\n" not in found.words


def test_what_is_not_signed_is_refused_with_where_its_signature_belongs() -> None:
    for kind, headers in ALL.items():
        bare = {name: value for name, value in headers.items() if "Signature" not in name and "Token" not in name}
        found = proved(small(bare), BODY, (SECRET,), by_tls=True)
        assert found is not None
        assert found.why is HookRefusal.UNSIGNED
        assert kind.value in found.words
    old = {"X-GitHub-Event": "push", "X-Hub-Signature": "sha1=7d38cdd689735b008b3c702edd92eea23791c5f6"}
    found = proved(small(old), BODY, (SECRET,), by_tls=True)
    assert found is not None
    assert "SHA-1" in found.words


def test_a_token_is_taken_over_tls_only_and_a_signature_anywhere() -> None:
    assert why(ALL[ForgeKind.GITLAB], by_tls=False) is HookRefusal.PLAIN
    assert {why(ALL[kind], by_tls=False) for kind in ALL if kind is not ForgeKind.GITLAB} == {None}


def test_a_bad_signature_of_the_forges_own_is_not_made_good_by_another_header() -> None:
    headers = {**from_gitea(BODY, forgejo=True), "X-Forgejo-Signature": "0" * 64}
    assert why(headers) is HookRefusal.FORGED


def test_an_id_is_the_forges_own_and_none_where_it_is_no_word() -> None:
    assert [id_of(small(headers)) for headers in ALL.values()] == [
        "72d3162e-cc78-11e3", "f6266f16-1bf3", "1", "f6266f16-1bf3", "c2675c66-7e6e",
    ]  # fmt: skip
    assert {event_of(small(headers)) for headers in ALL.values()} == {"push", "Push Hook"}
    for odd in ("", "a b", "x" * 101, "\u0661", "a\n"):
        assert id_of({"x-github-event": "push", "x-github-delivery": odd}) == ""


def test_where_there_is_no_secret_nothing_is_believed_and_an_empty_one_is_none() -> None:
    for headers in (from_github(BODY), from_github(BODY, secret=""), from_gitea(BODY, secret=""), from_gitlab()):
        found = proved(small(headers), BODY, (), by_tls=True)
        assert found is not None
        assert found == proved(small(headers), BODY, ("another secret",), by_tls=True)
