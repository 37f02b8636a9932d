"""Which looks triggers owe to deliveries: a delivery is open until each trigger of its project has looked after it.

The test is tests/metaserver/hooking/test_owed.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from attrs import define, field

from buildtool.ports.triggers import TriggerKey

__all__ = ["OwedLooks"]


@define(eq=False)
class OwedLooks:
    """The looks that are owed: by which trigger, and after which number of a delivery."""

    _owed: dict[TriggerKey, int] = field(factory=dict, init=False)
    _open: dict[str, int] = field(factory=dict, init=False)

    def hint(self, project: str, names: Collection[str], number: int) -> None:
        """Record that triggers of a project owe a look after a delivery, by its number."""
        self._open[project] = max(number, self._open.get(project, 0))
        for name in names:
            self._owed[project, name] = max(number, self._owed.get((project, name), 0))

    def begin(self, keys: Iterable[TriggerKey]) -> Mapping[TriggerKey, int]:
        """Return what a look that begins now is made after."""
        return {key: self._owed[key] for key in keys if key in self._owed}

    def end(self, looked: Mapping[TriggerKey, int], key: TriggerKey) -> None:
        """Record that a trigger's look ended well that was made after what ``looked`` says."""
        if key in looked and self._owed.get(key, 0) <= looked[key]:
            self._owed.pop(key, None)

    def settle(self, known: Collection[TriggerKey]) -> Mapping[str, int]:
        """Return which deliveries no trigger that is ``known`` owes a look: of each project up to which number.

        A project without any that is known may come back, as after a mistake in the configuration: it goes on owing.
        """
        there = {project for project, _ in known}
        for gone in [key for key in self._owed if key[0] in there and key not in known]:
            del self._owed[gone]
        owing = {project for project, _ in self._owed}
        return {project: number for project, number in self._open.items() if project not in owing}

    def settled(self, project: str, number: int) -> None:
        """Record that it is written down of a project that looks were made up to a number."""
        if self._open.get(project, 0) <= number:
            self._open.pop(project, None)

    def owes(self, key: TriggerKey) -> bool:
        """Return whether a trigger owes a look."""
        return key in self._owed
