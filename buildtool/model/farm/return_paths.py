"""The address that a mail comes back to when it cannot be delivered: one for each, so that it is known which it was.

The tag in it names a Request, and proves that the farm made it: nobody can make others' mails look undelivered.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from attrs import frozen

PLACE = "{id}"
"""Stands in the setting for the tag."""

LONGEST = f"b{'9' * 18}-{'f' * 20}"
"""The longest tag that there can be."""

_PROOF = 20
_TAG = re.compile(r"\bb([1-9][0-9]{0,17})-([0-9a-f]{20})\b")


@frozen
class ReturnTag:
    """The tag of a mail that told of a Request, and perhaps of others, with its ``proof``."""

    request_id: int
    proof: str

    @classmethod
    def of(cls, key: bytes, request_id: int, email: str) -> ReturnTag:
        """Return the tag of the mail to an address about a Request, whose ``key`` signs it."""
        words = f"returned mail {request_id} {email}".encode()
        return cls(request_id, hmac.new(key, words, hashlib.sha256).hexdigest()[:_PROOF])

    @classmethod
    def read(cls, text: str) -> ReturnTag | None:
        """Return the first tag in a text, such as an address, or None."""
        found = _TAG.search(text[:1_000].lower())
        return None if found is None else cls(int(found[1]), found[2])

    def is_of(self, key: bytes, email: str) -> bool:
        """Return whether the farm made it for a mail to this address."""
        return hmac.compare_digest(self.proof, ReturnTag.of(key, self.request_id, email).proof)

    def __str__(self) -> str:
        return f"b{self.request_id}-{self.proof}"
