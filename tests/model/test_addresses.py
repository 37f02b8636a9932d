"""Addresses: what is taken is safe in a header, an envelope and a message; what is not is refused in one line."""

import unicodedata
from email.message import EmailMessage
from email.policy import SMTPUTF8, default

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.mail.smtp import Address, quoteaddr

from buildtool.errors import UsageError
from buildtool.model.addresses import ADDRESS_LIMIT, valid_address

HOSTILE = st.text(st.sampled_from("ab-._+@ \r\n\t\"'<>(),:;\\|%!`é\x00[]1"), max_size=40)


@given(st.one_of(HOSTILE, st.text(max_size=40), st.emails()))
@example("a@b\nBcc: c@d")
@example("a@b\n")
@example("a#b/c=d'e@x.org")
@example("/==#~&a-a_+.++&-++b_#b_.~b_b-'@1aaabbb--ab1a-abaa11.1aa.1b1a-1aaaa1--bbab1-a")
@example("a" * 64 + "@" + "b-1." * 45 + "org")
def test_whatever_is_accepted_is_the_same_address_in_a_header_and_in_the_envelope(text: str) -> None:
    try:
        address = valid_address(text)
    except UsageError:
        return
    message = EmailMessage(policy=default if address.isascii() else SMTPUTF8.clone(linesep="\n"))
    message["To"] = address
    # A line may be folded at white space, of which there is only that after the colon (RFC 5322 section 2.2.3).
    assert bytes(message).decode().replace("\n ", " ") in (f"To: {address}\n\n", f"To:  {address}\n\n")
    read = EmailMessage(policy=default)
    read["To"] = address
    (one,) = read["To"].addresses
    assert one.addr_spec == address
    if address.isascii():
        assert quoteaddr(address) == f"<{address}>".encode()
        assert str(Address(address)) == address
    assert valid_address(address) == address
    assert valid_address(unicodedata.normalize("NFD", address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "a@example.org",
        "alice.b+farm@x-y.example.org",
        "root@localhost",
        "O'Brien@example.org",
        "a_b@1and1.de",
        "jürg@example.org",
        "用户@example.org",
        "ελένη.π@example.org",
        "שרה@example.org",
        "अनु@example.org",
    ],
)
def test_everyday_addresses_are_taken_as_they_are(text: str) -> None:
    assert valid_address(text) == text


def test_the_domain_is_in_lower_case_afterwards_and_the_name_before_it_as_it_was() -> None:
    assert valid_address("Alice@Example.ORG") == "Alice@example.org"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("alice", "a name, an @ and a domain"),
        ("@example.org", "a name, an @ and a domain"),
        ("alice@", "a name, an @ and a domain"),
        ("a b@example.org", "before the @"),
        ("a@b@example.org", "before the @"),
        ("-f@example.org", "before the @"),
        ("a..b@example.org", "before the @"),
        (".a@example.org", "before the @"),
        ("|program@example.org", "before the @"),
        ("a%b@example.org", "before the @"),
        ("\uff41nn@example.org", "before the @"),
        ("\ufb01nn@example.org", "before the @"),
        ("ann\u200b@example.org", "before the @"),
        ("a\ufe0fnn@example.org", "before the @"),
        ("\u3164@example.org", "before the @"),
        ("\u0301ann@example.org", "before the @"),
        ("\u202eann@example.org", "before the @"),
        ("❤@example.org", "before the @"),
        ("é" * 33 + "@example.org", "more than 64 bytes before the @"),
        ("Alice <a@example.org>", "before the @"),
        ("a@exa mple.org", "no usable domain"),
        ("a@example.org\n", "no usable domain"),
        ("a@-x.org", "no usable domain"),
        ("a@x..org", "no usable domain"),
        ("a@[127.0.0.1]", "no usable domain"),
        ("a@127.0.0.1", "no usable domain"),
        ("x" * 65 + "@example.org", "before the @"),
        ("a@" + "x." * 130 + "org", f"longer than {ADDRESS_LIMIT}"),
    ],
)
def test_each_kind_of_nonsense_is_refused_with_what_is_wrong_and_what_would_be_right(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        valid_address(text)
    assert said in str(caught.value)
    assert str(caught.value).endswith("write it like name@example.org")
    assert len(str(caught.value)) < 250


@given(st.text())
def test_a_refusal_is_one_printable_line(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        valid_address(f"<{text}>")
    assert str(caught.value).isprintable()
