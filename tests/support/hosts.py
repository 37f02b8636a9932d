"""Hosts of a network of their own: network namespaces, joined by one cable, each behind a wall of its own.

Nothing of them is seen on this machine, or stays there: a namespace ends with the process that holds it, and that ends
with this one.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest
from attrs import frozen

from tests.support.packages import require

WALL = """
table inet wall {
    counter knocked { }
    chain arriving {
        type filter hook input priority 0; policy accept;
        iif lo accept
        ct state established,related accept
        %s
        meta l4proto { tcp, udp } counter name knocked drop
    }
}
"""
"""What a host lets in by IP: answers to what it asked itself, and what else is said; the rest is counted, and lost."""


@frozen
class Host:
    """A host: the process that holds its network namespace, and its address."""

    holder: int
    address: str

    def words(self, *words: str) -> list[str]:
        """Return the command line that runs another one on this host."""
        return ["nsenter", f"--net=/proc/{self.holder}/ns/net", "--", *words]

    def run(self, *words: str, given: str = "") -> str:
        """Run a command here; return what it printed. Raises CalledProcessError."""
        done = subprocess.run(self.words(*words), input=given, capture_output=True, text=True, check=True, timeout=30)
        return done.stdout

    def knocked(self) -> int:
        """Return how many packets were not let in since the last call."""
        told = json.loads(self.run("nft", "--json", "reset", "counter", "inet", "wall", "knocked"))
        return next(int(one["counter"]["packets"]) for one in told["nftables"] if "counter" in one)


@contextmanager
def two_hosts(*opened: int) -> Iterator[tuple[Host, Host]]:
    """Yield two hosts with one cable between them: the first lets in TCP at the ports ``opened``, the second nothing.

    The test is skipped by name where that needs a program, a right or a kernel that is not there; only a missing
    program is a failure where everything has to be installed, see `require`.
    """
    for program, package in {"ip": "iproute2", "nft": "nftables", "nsenter": "util-linux"}.items():
        require(program, package)
    with ExitStack() as held:
        here, there = (Host(held.enter_context(_namespace()), address) for address in ("192.0.2.1", "192.0.2.2"))
        here.run("ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", str(there.holder))
        for host, wall in ((here, _opening(opened)), (there, "")):
            host.run("ip", "address", "add", f"{host.address}/30", "dev", "cable")
            for link in ("lo", "cable"):
                host.run("ip", "link", "set", link, "up")
            host.run("nft", "--file", "-", given=WALL % wall)
        yield here, there


def _opening(ports: Sequence[int]) -> str:
    return f"tcp dport {{ {', '.join(map(str, ports))} }} accept"


@contextmanager
def _namespace() -> Iterator[int]:
    """Yield the id of a process in a network namespace of its own. Skips the test without the right to make one."""
    words = ["unshare", "--net", "sh", "-c", "echo made && exec cat"]  # cat ends with this process
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as holder:
        if holder.stdout is None or holder.stdout.readline() != b"made\n":
            pytest.skip("network namespaces are made here by nobody: run the tests as root with CAP_NET_ADMIN")
        try:
            yield holder.pid
        finally:
            holder.kill()
