"""What an owner may tell and ask their running build server, and the words of the answers.

``GuestDesk`` answers one act after the other; ``local_socket`` carries them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import define, field, frozen
from twisted.logger import Logger

from buildtool.adapters.control.build_server_link import LinkStanding
from buildtool.adapters.host.presence.probe import ToldBy
from buildtool.adapters.host.recipe_commands import BuildBounds
from buildtool.adapters.processes.gentleness import Gentleness
from buildtool.buildserver.following import ConfigurationFollower
from buildtool.buildserver.guest import Guest
from buildtool.concurrency.token_bucket import TokenBucket
from buildtool.errors import BuildToolError, UsageError
from buildtool.model.guest.history import WorkHistory, plain
from buildtool.model.guest.stance import PauseAsked
from buildtool.model.text import duration_of, duration_words, size_words
from buildtool.programs.buildserver.following.telling import following_status
from buildtool.programs.buildserver.guest.wishes import GuestSettings, check_told

log = Logger()

LONGEST_PAUSE = 366 * 86_400.0
"""Seconds that a pause may last."""

ANSWERED = 0.2
"""Seconds after which a build server that was told to drain does so: its answer goes out first."""

Answer = dict[str, object]


@frozen
class OwnedParts:
    """The parts that an owner reaches: how commands run, what builds use, how fast bytes come and go, what was done."""

    gentleness: Gentleness
    bounds: BuildBounds
    uploading: TokenBucket
    downloading: TokenBucket
    history: WorkHistory = field(factory=WorkHistory)


@define(eq=False)
class GuestDesk:
    """The owner's desk: settings that are read again, pauses, and how things stand. Call it in the reactor's thread.

    ``read`` returns the settings as they are said now, and raises BuildToolError; ``drain`` has the build server finish
    what it has and end. ``farm`` tells how it stands with its metaserver, ``full`` why too much waits for that.
    ``settings`` is replaced only by what is right.
    """

    name: str
    guest: Guest
    told: ToldBy
    settings: GuestSettings
    read: Callable[[], GuestSettings]
    path: Path
    drain: Callable[[str], None]
    parts: OwnedParts
    wrong: str = field(default="", init=False)
    draining: str = field(default="", init=False)
    _told_memory: int | None = field(default=None, init=False)
    following: ConfigurationFollower | None = field(default=None, init=False)
    farm: Callable[[], LinkStanding] | None = field(default=None, init=False)
    full: Callable[[], str] = field(default=lambda: "", init=False)

    def answer(self, asked: Mapping[str, object]) -> Answer:
        """Return the answer to one act. Raises BuildToolError."""
        act, what = asked.get("act"), asked.get("for", "")
        if not isinstance(what, str) or not isinstance(act, str):
            raise UsageError("an act is a text, and so is how long it holds")
        match act:
            case "status":
                pass
            case "pause":
                self.pause(what)
            case "resume":
                self.resume()
            case "reload":
                self.reload()
                self.look_for_new()
            case "accept-config":
                self.accept(what)
            case "history":
                return history_answer(self.name, self.parts.history)
            case "drain":
                self.draining = "its owner drains it"
                self.guest.timers.callLater(ANSWERED, self.drain, self.draining)
            case _:
                raise UsageError(f"{act[:40]!r} is nothing that a build server does")
        return self.status()

    def status(self) -> Answer:
        """Return how things stand, as plain values."""
        server, stance, seen = self.guest.server, self.guest.stance, self.guest.seen
        return {
            "name": self.name,
            "running": server.running,
            "frozen": self.guest.frozen,
            "farm": None if self.farm is None else _farm(self.farm(), self.guest.clock.wall()),
            "takes": stance.begins and not self.draining and not self.full(),
            "why": self.draining or stance.words or self.full(),
            "reasons": [one for one in (self.draining, *stance.all_words, self.full()) if one],
            "until": stance.until_at,
            "paused": self.guest.pause is not None,
            "draining": self.draining,
            "idle_told_by": self.told.words() if self.settings.wishes.watches_owner else "",
            "input_age": seen.input_age,
            "others_load": seen.others_load,
            "on_battery": seen.on_battery,
            "memory": self.settings.memory,
            "memory_present": self.settings.wishes.memory_present,
            "builds_memory": seen.builds_memory,
            "upload_rate": self.settings.upload_rate,
            "download_rate": self.settings.download_rate,
            "settings": str(self.path),
            "wrong": self.wrong,
            "following": None if self.following is None else following_status(self.following),
        }

    def pause(self, words: str) -> Answer:
        """Pause for a duration such as ``2h``, or for an empty one until ``resume``. Raises UsageError."""
        seconds = pause_seconds(words)
        self.guest.pause = PauseAsked(None if seconds is None else self.guest.clock.wall() + seconds)
        self.guest.judge_again()
        return self.status()

    def resume(self) -> Answer:
        """Resume after a pause."""
        self.guest.pause = None
        self.guest.judge_again()
        return self.status()

    def reload(self) -> None:
        """Read the settings again; what is wrong leaves the old ones. Raises BuildToolError for what is wrong."""
        try:
            found = self.read()
            check_told(found.wishes, self.told)
        except BuildToolError as error:
            self.wrong = str(error)
            log.error("the settings stay as they were: {why}", why=self.wrong)
            raise
        self.wrong = ""
        if found != self.settings:
            log.info("the settings of {path} hold now", path=self.path)
        self.settings, self.guest.wishes = found, found.wishes
        self.be_gentle()
        self.guest.judge_again()

    def look_for_new(self) -> None:
        """Start a look for what is new, where a configuration is followed."""
        if self.following is not None:
            self.following.look_again()

    def accept(self, commit: str) -> None:
        """Accept a commit of the configuration that is followed. Raises UsageError."""
        if self.following is None:
            raise UsageError("this build server follows no repository: say --follow-config and --signed-by")
        self.following.accept(commit)

    def be_gentle(self) -> None:
        """Set how gentle commands are that start from now on, what builds may use, and how fast is sent and fetched."""
        it, settings = self.parts, self.settings
        gentle = it.gentleness
        gentle.nice, gentle.io_idle, gentle.cpus = settings.nice, settings.io_idle, settings.cpus
        it.bounds.allow(settings.memory)
        it.bounds.kept = settings.disk_kept
        memory = it.bounds.limits.memory
        if memory is not None and memory != self._told_memory:
            self._told_memory = memory
            log.info("from now on a build may use {size} of memory", size=size_words(memory))
        it.uploading.rate, it.downloading.rate = settings.upload_rate, settings.download_rate


def pause_seconds(words: str) -> float | None:
    """Return how long a pause such as ``2h`` is, None for an empty one: until ``resume``. Raises UsageError."""
    seconds = duration_of(words) if words else None
    if seconds is not None and not 0 < seconds <= LONGEST_PAUSE:
        raise UsageError(f"a pause lasts from 1s to {duration_words(LONGEST_PAUSE)}")
    return seconds


def _farm(found: LinkStanding, now: float) -> dict[str, object]:
    """Return how a build server stands with its metaserver, as plain values; times are wall time in seconds."""
    return {
        "where": found.where,
        "connected": found.connected,
        "since": round(now - found.seconds, 3),
        "why": found.why,
        "again_at": None if found.again is None else round(now + found.again, 3),
    }


def farm_words(farm: Mapping[str, object], now: float) -> str:
    """Return in a line which metaserver it is and whether there is a connection, at wall time ``now``."""
    since, again = farm.get("since"), farm.get("again_at")
    lasts = f" for {duration_words(max(0.0, now - since))}" if isinstance(since, int | float) else ""
    if farm.get("connected"):
        return f"{farm.get('where')}, connected{lasts}"
    tries = f"tries again in {duration_words(max(0.0, again - now))}" if isinstance(again, int | float) else ""
    return f"{farm.get('where')}, not connected{lasts}: {farm.get('why')}; {tries or 'logs in now'}"


def history_answer(name: str, history: WorkHistory, damaged: str = "") -> Answer:
    """Return what a machine did, as plain values; ``damaged`` says what of it could not be read."""
    rows = [plain(key, work) for key, work in sorted(history.rows.items())]
    return {"name": name, "damaged": damaged, "rows": rows}


def status_lines(status: Mapping[str, object]) -> tuple[str, ...]:
    """Return how things stand, for people, a line each."""
    running, frozen = status.get("running"), status.get("frozen")
    what = f"{running} build{'' if running == 1 else 's'}{', frozen' if frozen else ''}" if running else "nothing"
    found = status.get("reasons")
    first, *others = found if isinstance(found, list) and found else [status.get("why")]
    takes = ["takes more  yes"] if status.get("takes") else [f"takes more  no: {first}"]
    takes += [f"            and {one}" for one in others]
    farm = status.get("farm")
    told = [f"farm        {farm_words(farm, time.time())}"] if isinstance(farm, Mapping) else []
    lines = [f"name        {status.get('name')}", *told, f"builds      {what}", *takes]
    if status.get("idle_told_by"):
        age = status.get("input_age")
        seen = f", last seen {duration_words(age)} ago" if isinstance(age, int | float) else ""
        lines.append(f"owner       told by {status['idle_told_by']}{seen}")
    lines += _bounds(status)
    following = status.get("following")
    if isinstance(following, Mapping):
        lines += [f"follows     {following.get('of')}: {following.get('words')}"]
    if status.get("wrong"):
        lines.append(f"settings    as they were before: {status['wrong']}")
    return tuple(lines)


def _bounds(status: Mapping[str, object]) -> list[str]:
    """Return what builds and transfers are kept to, as far as their owner said so."""

    def size(name: str) -> str:
        found = status.get(name)
        return size_words(int(found)) if isinstance(found, int | float) else ""

    memory, present, used = size("memory"), size("memory_present"), size("builds_memory")
    parts = [f"{memory} for builds" if memory else "", f"{present} while its owner is there" if present else ""]
    rates = [f"{way} {size(f'{way}_rate')}/s" for way in ("upload", "download") if size(f"{way}_rate")]
    told = ", ".join(part for part in (*parts, f"{used} in use" if used else "") if part)
    lines = [f"memory      {told}"] if told else []
    return [*lines, f"rates       {', '.join(rates)}"] if rates else lines
