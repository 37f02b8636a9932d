"""What breaks a rule of the house today. Each list may only shrink: lower a figure, take a name out, add nothing."""

from tests.support.sizes import Exceptions

ALLOWED = Exceptions(
    modules={},
    lines={},
    methods={},
    classes=frozenset({}),
    tests=frozenset({}),
)
