"""The address that a mail comes back to: it names one request, and only the farm can make it."""

from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.addresses import valid_address
from buildtool.model.farm.return_paths import LONGEST, PLACE, ReturnTag

IDS = st.integers(1, 10**18 - 1)


@given(IDS, st.binary(max_size=40), st.emails())
def test_a_tag_is_read_out_of_any_address_that_it_stands_in_and_proves_whose_mail_it_was(
    request_id: int, key: bytes, email: str
) -> None:
    tag = ReturnTag.of(key, request_id, email)
    assert len(str(tag)) <= len(LONGEST)
    for pattern in (f"bounces+{PLACE}@example.org", f"{PLACE}@bounces.example.org", f"b.{PLACE}@x.org"):
        address = valid_address(pattern.replace(PLACE, str(tag)))
        assert ReturnTag.read(address) == ReturnTag.read(f"<{address.upper()}>") == tag
    assert tag.is_of(key, email)
    assert not tag.is_of(key, f"{email}x")
    assert not tag.is_of(key + b"x", email)
    assert not ReturnTag(request_id % (10**18 - 1) + 1, tag.proof).is_of(key, email)


@given(st.text())
def test_what_has_no_tag_has_none(text: str) -> None:
    found = ReturnTag.read(text)
    assert found is None or str(found) in text.lower()
