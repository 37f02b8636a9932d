"""A program of its own: import modules as they would be imported on macOS, where much of Linux is not there.

What Python has on Linux only is taken away first, and what is packaged for Linux only cannot be imported.
"""

import fcntl
import importlib
import importlib.abc
import os
import pkgutil
import resource
import select
import signal
import socket
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from types import ModuleType

LINUX_ONLY: tuple[tuple[ModuleType, str], ...] = (
    (os, "pidfd_open sched_getaffinity sched_setaffinity sched_getscheduler sched_setscheduler memfd_create eventfd"),
    (os, "setns unshare O_PATH O_TMPFILE O_DIRECT O_NOATIME posix_fadvise posix_fallocate splice copy_file_range"),
    (os, "getrandom setresuid setresgid getresuid getresgid listxattr getxattr setxattr removexattr CLONE_NEWUSER"),
    (socket, "SO_PEERCRED SOCK_CLOEXEC SOCK_NONBLOCK SO_DOMAIN SO_PROTOCOL SO_MARK AF_NETLINK AF_PACKET"),
    (select, "epoll EPOLLIN"),
    (signal, "sigtimedwait sigwaitinfo SIGRTMIN SIGRTMAX SIGPWR SIGSTKFLT SIGPOLL"),
    (resource, "prlimit RLIMIT_MSGQUEUE RLIMIT_NICE RLIMIT_RTPRIO RLIMIT_RTTIME RLIMIT_SIGPENDING RLIMIT_OFILE"),
    (fcntl, "F_OFD_SETLK F_ADD_SEALS F_SETPIPE_SZ F_GETPIPE_SZ F_NOTIFY"),
)
"""What a Mac's Python does not have, of modules that both have."""

NOT_THERE = frozenset({"pyseccomp", "seccomp", "prctl", "spwd", "ossaudiodev"})
"""What cannot be installed there."""


class _NotThere(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname.partition(".")[0] in NOT_THERE:
            raise ModuleNotFoundError(f"No module named {fullname!r} on macOS", name=fullname)


def become_a_mac() -> None:
    """Take away what is of Linux."""
    sysconfig.get_config_vars()  # of this very Python, whatever it is said to be
    sys.platform = "darwin"
    for module, names in LINUX_ONLY:
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    sys.meta_path.insert(0, _NotThere())
    own = ModuleType("_scproxy")  # a Mac's own, by which Python asks for its proxies
    vars(own).update(_get_proxies=dict, _get_proxy_settings=dict)
    sys.modules["_scproxy"] = own


def modules(packages: Sequence[str]) -> Iterator[str]:
    """Yield the names of all modules of the packages."""
    for package in packages:
        yield package
        found = importlib.import_module(package)
        for one in pkgutil.walk_packages(found.__path__, f"{package}."):
            yield one.name


def main(packages: Sequence[str]) -> int:
    become_a_mac()
    count = 0
    for name in modules(packages):
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what the test is about
            print(f"{name}: {type(error).__name__}: {error}")
            return 1
        count += 1
    print(f"{count} modules")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
