"""The table of attacks: how each must end in a sandbox, and whether it does harm where there is none.

The harm is what `Scene.harm` sees from outside, or what the attack says that it could do.
"""

import json
import socket
from collections.abc import Callable, Sequence

from attrs import frozen

from buildtool.model.records import AttemptEnd
from tests.hostile.builds import program
from tests.hostile.builds.program import About
from tests.hostile.builds.scene import PATIENCE, PYTHON, Asked, Ran, Scene

KEPT_OUT = "exited with code 1"


@frozen
class Attack:
    """One attack, and the end of its build: ``end``, and a part of the reason.

    ``account`` says that it is another thing where the build has the account of its build server. ``else_kept`` says
    what keeps it from doing harm where there is no sandbox, or why that is not tried; nothing where it does harm.
    """

    act: Callable[[About], str]
    end: AttemptEnd = AttemptEnd.FAILED
    reason: str = KEPT_OUT
    else_kept: str = ""
    account: bool = False
    delivers: Sequence[str] = ("main.c",)
    time_limit: float = PATIENCE
    silence_limit: float = PATIENCE
    log_limit: int = 1_000_000
    knocks: bool = False

    @property
    def harmless(self) -> bool:
        """Whether what it says that it got does no harm by itself: what it would deliver."""
        return self.else_kept == _PACKING

    @property
    def name(self) -> str:
        """The name, in words."""
        return self.act.__name__

    def asked(self, scene: Scene) -> Asked:
        """Return the build that does it."""
        words = [PYTHON, "hostile.py", self.act.__name__, json.dumps(scene.about())]
        return Asked([words], self.delivers, self.time_limit, self.silence_limit, self.log_limit)

    def run(self, scene: Scene) -> Ran:
        """Run it as a build."""
        return scene.build(self.asked(scene), (lambda: _knock(scene)) if self.knocks else (lambda: None))


def _knock(scene: Scene) -> None:
    with socket.socket() as one:
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", scene.free_port))


def said(ran: Ran) -> str:
    """Return what an attack says that it got."""
    return next((line.partition("got: ")[2] for line in ran.log.splitlines() if line.startswith("got: ")), "")


_KEEPERS = "the keepers see to that as well"
_TREES = "the next checkout sees to that"
_PACKING = "packing sees to that"
_LIMITS = "a limit sees to that"
_WRONG = AttemptEnd.MISTAKEN

ATTACKS = [
    Attack(program.reads_secrets, account=True),
    Attack(program.reads_passwords, account=True),
    Attack(program.reads_the_servers_memory, account=True),
    Attack(program.guesses_another_slot, account=True),
    Attack(program.writes_outside, account=True),
    Attack(program.litters_tmp),
    Attack(program.poisons_the_mirror, account=True),
    Attack(program.poisons_its_packs, account=True),
    Attack(program.rewrites_git, else_kept=_TREES),
    Attack(program.replaces_git, else_kept=_TREES),
    Attack(program.replaces_git_by_its_own, else_kept=_TREES),
    Attack(program.fills_memory_files, account=True, else_kept="it would fill this machine's memory"),
    Attack(program.fills_shared_memory, account=True),
    Attack(program.connects),
    Attack(program.listens, knocks=True),
    Attack(program.makes_odd_sockets),
    Attack(program.kills, account=True),
    Attack(program.kills_all, account=True, reason="", else_kept="it would end everything here"),
    Attack(program.traces, account=True),
    Attack(program.writes_into_the_holder, account=True, else_kept="it would reach for a process of the machine"),
    Attack(program.goes_before_others, account=True),
    Attack(program.shares_memory, account=True),
    Attack(program.leaves_daemons, else_kept=_KEEPERS),
    Attack(program.ignores_requests, reason="took longer than", else_kept=_KEEPERS, time_limit=0.5),
    Attack(program.mounts, account=True),
    Attack(program.unshares, account=True),
    Attack(program.clones, account=True),
    Attack(program.calls_as_older_programs),
    Attack(program.makes_forbidden_calls),
    Attack(program.types_into_a_terminal),
    Attack(program.writes_its_own_program, account=True),
    Attack(program.holds_descriptors, else_kept=_KEEPERS),
    Attack(program.delivers_a_link, _WRONG, delivers=["made"], reason="leads out of the tree", else_kept=_PACKING),
    Attack(
        program.delivers_through_a_link,
        _WRONG,
        delivers=["way/key"],
        reason="leads out of the tree",
        else_kept=_PACKING,
    ),
    Attack(program.delivers_a_pipe, _WRONG, delivers=["made"], reason="a named pipe", else_kept=_PACKING),
    Attack(program.delivers_a_socket, _WRONG, delivers=["made"], reason="a socket", else_kept=_PACKING),
    Attack(program.delivers_a_device, delivers=["made"]),
    Attack(program.delivers_a_terabyte, delivers=["made"], reason="more than the", else_kept=_PACKING),
    Attack(program.delivers_a_hard_link, delivers=["made"], account=True),
    Attack(program.hides_its_output, reason="wrote nothing for", else_kept=_LIMITS, silence_limit=0.5),
    Attack(program.pretends_success, else_kept="nobody reads the log for that"),
    Attack(program.floods_the_log, reason="took longer than", else_kept=_LIMITS, log_limit=100_000, time_limit=2.0),
]

_MEMORY, _DISK = "it exceeded the limit of memory", "it exceeded the limit of disk"

BOMBS = [
    Attack(program.forks_without_end, reason="it exceeded the limit of processes"),
    Attack(program.forks_out_of_sight, reason="", else_kept=_KEEPERS),
    Attack(program.fills_memory, AttemptEnd.LIMITED, _MEMORY),
    Attack(program.fills_memory_behind_files, AttemptEnd.LIMITED, _MEMORY, account=True),
    Attack(program.fills_the_disk, AttemptEnd.LIMITED, _DISK),
    Attack(program.fills_the_disk_by_other_names, AttemptEnd.LIMITED, _DISK),
    Attack(program.fills_the_disk_without_names, AttemptEnd.LIMITED, _DISK, account=True),
    Attack(program.fills_the_disk_out_of_reach, AttemptEnd.LIMITED, _DISK, account=True),
    Attack(program.makes_files_without_end, reason="it exceeded the limit of files"),
    Attack(program.makes_a_long_file, reason="it wrote a file of more than"),
]
"""Builds that would have all of the machine, in a sandbox with the limits of `scene.LIMITS`."""

BUSY = [
    Attack(program.keeps_processors_busy),
    Attack(program.forks_and_ends),
    Attack(program.floods_the_log, log_limit=100_000),
]
"""Builds that would have all of the machine's time, for as long as their time limit lets them."""
