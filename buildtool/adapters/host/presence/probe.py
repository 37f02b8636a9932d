"""What tells of a machine's owner here, found out once, and a look at it again and again.

Of several that tell, whatever saw the owner last counts. Everything here blocks; nothing here decides.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from attrs import define, field, frozen

from buildtool.adapters.host.presence.devices import InputDevices
from buildtool.adapters.host.presence.load import OthersLoad
from buildtool.adapters.host.presence.logind import Ask, logind_age
from buildtool.adapters.host.presence.power import PMSET, on_battery, parse_pmset
from buildtool.adapters.host.presence.terminals import typed_at
from buildtool.adapters.host.programs import output_of
from buildtool.model.guest.stance import Observed, OwnerWishes

ROOT = Path("/")

GIB = float(1 << 30)

IOREG = ("ioreg", "-c", "IOHIDSystem", "-d", "4")
"""What tells on macOS since when keyboard and mouse were not used."""

_IDLE_TIME = '"HIDIdleTime" = '
_LONGEST = 20


@frozen
class ToldBy:
    """The names of what tells of the owner, of others' load and of the battery; empty where nothing does."""

    idle: tuple[str, ...] = ()
    load: str = ""
    power: str = ""

    def words(self) -> str:
        """Return in words by what idleness is told."""
        return " and ".join(self.idle) or self.load


def parse_ioreg(said: str) -> float | None:
    """Return since how many seconds keyboard and mouse of a Mac are idle; None where it does not say."""
    for line in said.splitlines():
        if _IDLE_TIME in line:
            number = line.partition(_IDLE_TIME)[2].strip()
            return int(number) / 1e9 if number.isascii() and number.isdigit() and len(number) <= _LONGEST else None
    return None


@define(eq=False)
class PresenceProbe:
    """A look at the machine. ``root`` is where its files are, ``ask`` runs a command, ``wall`` is the clock.

    ``builds_memory`` returns how many bytes builds use.
    """

    root: Path = ROOT
    ask: Ask = output_of
    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    system: str = field(factory=lambda: sys.platform)
    disk_at: Path | None = None
    builds_memory: Callable[[], int | None] = lambda: None
    _devices: InputDevices = field(init=False)
    _load: OthersLoad = field(init=False)
    _ages: dict[str, Callable[[], float | None]] = field(factory=dict, init=False)
    _known: ToldBy | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._devices = InputDevices(self.root)
        self._load = OthersLoad(self.root / "proc")

    def told_by(self) -> ToldBy:
        """Return what tells on this machine; found out at the first call."""
        if self._known is None:
            self._known = self._find_out()
        return self._known

    def look(self, wishes: OwnerWishes) -> Observed:
        """Return what is seen now of that which the wishes ask for."""
        known = self.told_by()
        if not wishes.watches:
            return Observed()
        age = load = None
        if wishes.watches_owner:
            ages = [found for tell in self._ages.values() if (found := tell()) is not None]
            age = min(ages, default=None)
            if known.load and (wishes.max_load is not None or not known.idle):
                load = self._load.processors(self.monotonic())
        battery = self._battery() if wishes.mains_only and known.power else None
        free = self._free_disk() if wishes.disk else None
        return Observed(age, load, battery, free, self.builds_memory() if wishes.memory_present is not None else None)

    def close(self) -> None:
        """Close the devices that are open."""
        self._devices.close()

    def _find_out(self) -> ToldBy:
        if self.system == "darwin":
            self._ages = {"IOHIDSystem": self._mac_age}
        else:
            self._ages = {"/dev/input": self._device_age, "logind": self._logind_age, "terminals": self._terminal_age}
            if self._devices.found(self.monotonic()):
                del self._ages["logind"]  # which knows no more, and some desktops never tell it that they are idle
        self._ages = {name: tell for name, tell in self._ages.items() if tell() is not None}
        return ToldBy(
            idle=tuple(self._ages),
            load="the load of others" if self._load.told() else "",
            power="the power supply" if self._battery() is not None else "",
        )

    def _device_age(self) -> float | None:
        return self._devices.age(self.monotonic())

    def _logind_age(self) -> float | None:
        return logind_age(self.ask, self.wall())

    def _terminal_age(self) -> float | None:
        typed = typed_at(self.root)
        return None if typed is None else max(0.0, self.wall() - typed)

    def _mac_age(self) -> float | None:
        return parse_ioreg(self.ask(IOREG) or "")

    def _free_disk(self) -> float | None:
        try:
            return None if self.disk_at is None else shutil.disk_usage(self.disk_at).free / GIB
        except OSError:
            return None  # the first build will say what is wrong there

    def _battery(self) -> bool | None:
        return parse_pmset(self.ask(PMSET) or "") if self.system == "darwin" else on_battery(self.root)
