"""How much one field of a message may hold, as the ``metadata`` of the attrs field says it.

The keys of the metadata are the names of ``Limits``; a field without metadata has the defaults.

The test is tests/protocol/test_codec.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen
from attrs.validators import in_, optional

TOGETHER = 64
"""Most builds that are asked for at once."""

SIZE_LIMIT = 600_000
"""Most bytes of one message; Perspective Broker's own limit for a string is 655,360."""


@frozen
class Limits:
    """The bounds of one field; ``None`` means that what is sent is bounded like what is understood.

    ``most`` is in bytes of UTF-8 for each text of the field as it is understood, ``sent`` in bytes of JSON (without the
    quotation marks) as it is sent: so much less that each answer fits into one message, whatever peers have made.
    ``members`` and ``members_sent`` count the members of its collection; ``whole`` is in bytes of JSON for all of a
    collection that is sent. ``kept`` is set for what a person or a program wrote, which is cut to fit when it is sent:
    ``start`` or ``end``, whichever of the two is kept.
    """

    most: int = 4 * 1024
    sent: int | None = None
    members: int = 1_000
    members_sent: int | None = None
    whole: int | None = None
    kept: str | None = field(default=None, validator=optional(in_(("start", "end"))))


def limits_of(metadata: Mapping[str, Any]) -> Limits:
    """Return the limits that an attrs field's metadata says. Raises TypeError for a key that is none."""
    return Limits(**metadata)


NAME = Limits(most=255)
"""The bounds of a name in a dictionary: of an option or a property."""

PLATFORM_SENT = 2_000
"""Most bytes of JSON of an artifact's platform in an answer."""

NEED_SENT = 90
"""Most bytes of JSON of what an artifact needs in an answer: a version of the C library, and a level of processors."""
