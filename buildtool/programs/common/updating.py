"""The command that updates this program, for whoever is told that theirs is the older one."""

from __future__ import annotations

from pathlib import Path

from buildtool.errors import BuildToolError, ProtocolMismatch

ROOT = Path(__file__).resolve().parents[3]

_OURS = "update buildtool on the side that connects"
"""How a metaserver's refusal ends that asks this side to update (``adapters/control/gateway.py``)."""


def update_command(root: Path = ROOT) -> str:
    """Return what to type: in a checkout its next commit, else the next release of the package."""
    if (root / "setup.cfg").is_file():
        pull = f"git -C {root} pull && " if (root / ".git").exists() else "put the newer release in its place, then "
        return f"{pull}make -C {root} venv"
    return "python -m pip install --upgrade buildtool"


def with_command(error: BuildToolError, root: Path = ROOT) -> BuildToolError:
    """Return an error; where it says that this program is the older one, with the command that updates it."""
    if isinstance(error, ProtocolMismatch) and str(error).endswith(_OURS):
        return ProtocolMismatch(f"{error}: {update_command(root)}")
    return error
