"""Whether the kernel runs programs of another architecture, by qemu, and how it comes to do so."""

from __future__ import annotations

from pathlib import Path

from buildtool.adapters.host.toolchains import EMULATED

REGISTERED = Path("/proc/sys/fs/binfmt_misc")
"""Where the kernel tells which programs it runs by which interpreter."""

_RUN_TOO = {"x86_64": ("i686",)}
"""What else a processor runs by itself."""


def runs_itself(own: str, arch: str) -> bool:
    """Return whether a machine of architecture ``own`` runs programs of ``arch`` without an emulator."""
    return arch in (own, *_RUN_TOO.get(own, ()))


def obstacle(arch: str, place: Path = REGISTERED) -> tuple[str, str]:
    """Return why the kernel does not run programs of ``arch`` in a sandbox, and the mend; twice "" where it does.

    Within a sandbox no emulator is found: it has to be registered with the flag F, by which it is opened before.
    """
    name = f"qemu-{EMULATED.get(arch, arch)}"
    try:
        said = (place / name).read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return f"nothing is registered that runs programs of {arch}", _register(name, place)
    if "enabled" not in said or (place / "status").read_text(encoding="ascii").strip() == "disabled":
        return f"{name} is registered and switched off", f"as root: echo 1 > {place}/{name}"
    flags = next((line.partition(":")[2] for line in said if line.startswith("flags:")), "")
    if "F" not in flags:
        return (
            f"{name} is registered without the flag F, so that it is not found in a sandbox",
            "install qemu-user-static in the place of what registered it",
        )
    return "", ""


def _register(name: str, place: Path) -> str:
    words = "apt-get install qemu-user-static (Fedora: dnf install qemu-user-static) registers it"
    mount = "" if (place / "register").exists() else f"mount -t binfmt_misc none {place}; "
    return f"{words}; where systemd does not run, as root: {mount}cat /usr/lib/binfmt.d/{name}.conf > {place}/register"
