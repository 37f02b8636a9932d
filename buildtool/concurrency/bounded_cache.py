"""Caches that count bytes: whatever peers put into them, each has a bound in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import wraps
from typing import Any, Generic, TypeVar, cast

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
F = TypeVar("F", bound=Callable[..., Any])

OVERHEAD = 200
"""Bytes that one entry takes besides key and value, about."""

_OBJECT = 56

_MEMBER = _OBJECT + 8
_PAIR = 3 * _OBJECT + 3 * 8


class BoundedCache(Generic[K, V]):
    """A cache of values by key that take at most ``most`` bytes; those that were not asked for lately go first.

    It has two halves. What is asked for is in the younger one; when that is full it becomes the older one, and what the
    older one held is forgotten. So a look costs hardly more than that into a dictionary. Several threads may use one:
    what they do at the same instant costs an entry at worst, or its size until the halves change. ``young`` has values
    and sizes by key, for who looks there first.
    """

    def __init__(self, most: int) -> None:
        self._half = most // 2
        self.young: dict[K, tuple[V, int]] = {}
        self._old: dict[K, tuple[V, int]] = {}
        self._sizes = [0, 0]

    @property
    def size(self) -> int:
        """About how many bytes everything in here takes."""
        return sum(self._sizes)

    def __len__(self) -> int:
        return len(self.young) + len(self._old)

    def get(self, key: K) -> V | None:
        """Return the value of ``key``, None when there is none (or it is None)."""
        found = self.young.get(key)
        if found is None:
            found = self._old.pop(key, None)
            if found is None:
                return None
            self._sizes[1] -= found[1]
            self._put(key, found)
        return found[0]

    def put(self, key: K, value: V, size: int) -> None:
        """Keep ``value``, which with its key takes ``size`` bytes, in place of what was kept under the key.

        What is too large for this is not kept at all.
        """
        size += OVERHEAD
        before = self.young.pop(key, None)
        if before is not None:
            self._sizes[0] -= before[1]
        if size <= self._half:
            self._put(key, (value, size))

    def clear(self) -> None:
        """Forget everything."""
        self.young, self._old, self._sizes = {}, {}, [0, 0]

    def _put(self, key: K, entry: tuple[V, int]) -> None:
        if self._sizes[0] + entry[1] > self._half:
            self.young, self._old, self._sizes = {}, self.young, [0, self._sizes[0]]
        self.young[key] = entry
        self._sizes[0] += entry[1]


def keep_newest(kept: OrderedDict[K, V], key: K, value: V, most: int) -> V:
    """Put a value where the oldest one goes when there are more than ``most``, and return it."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)
    return value


def remembering(most: int, size: Callable[..., int]) -> Callable[[F], F]:
    """Return a decorator that remembers what a function of hashable arguments returned, in at most ``most`` bytes.

    ``size`` is called with the result and the arguments and returns how many bytes they take together.
    """

    def decorate(make: F) -> F:
        kept: BoundedCache[tuple[object, ...], Any] = BoundedCache(most)

        @wraps(make)
        def remembered(*arguments: Any) -> Any:  # noqa: ANN401 - as the function has them
            there = kept.young.get(arguments)
            if there is not None:  # without a call: half a dozen cells of every row are looked up
                return there[0]
            found = kept.get(arguments)
            if found is None:
                found = make(*arguments)
                kept.put(arguments, found, size(found, *arguments))
            return found

        remembered.kept = kept  # type: ignore[attr-defined] # so that its size can be seen
        return cast("F", remembered)

    return decorate


def size_of_text(text: str) -> int:
    """Return how many bytes a text takes in memory: Python keeps all of it as wide as its widest character."""
    return _OBJECT + (len(text) if text.isascii() else 4 * len(text))


def weight(value: object) -> int:
    """Return about how many bytes a text, a number, or tuples and lists of such take."""
    size = 0
    parts: list[object] = [value]
    for part in parts:  # grows while it is walked through: a call for each part takes thrice as long
        size += _OBJECT
        if type(part) is str:
            size += len(part) if part.isascii() else 4 * len(part)
        elif isinstance(part, tuple | list):
            size += 8 * len(part)
            parts += part
    return size


def weight_of_pairs(pairs: Sequence[tuple[str, object]]) -> int:
    """Return what ``weight`` does of names and their values, without a walk through the plain ones."""
    size = _OBJECT + _PAIR * len(pairs)
    for name, value in pairs:
        size += len(name) if name.isascii() else 4 * len(name)
        if type(value) is str:
            size += len(value) if value.isascii() else 4 * len(value)
        elif isinstance(value, tuple):
            size += weight(value) - _OBJECT
    return size


def weight_of_json(text: str) -> int:
    """Return how many bytes a JSON text in ASCII and the lists, texts and numbers in it weigh together, at most.

    What stands in a list stands behind a bracket or a comma, so nothing has to be walked through.
    """
    return 2 * _OBJECT + _MEMBER * (text.count(",") + text.count("[")) + 5 * len(text)
