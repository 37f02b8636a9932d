"""What a farm for trying things out is configured as, and what is said of how it is used.

Covered by tests/programs/local/test_words.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from buildtool.configuration.settings import Settings
from buildtool.model.trust.evidence import SandboxLevel


def configuration(directory: Path, ports: Sequence[int], recipe: Path, chosen: Sequence[str] = ()) -> str:
    """Return the configuration of a farm below ``directory``, with the projects of a file, or those that are chosen."""
    control, transfer, web = ports
    return f'''"""Written by `bin/metaserver --local`, and removed with the directory where it lies."""

host = "127.0.0.1"
trusted = "loopback"
pb_port = {control}
transfer_port = {transfer}
web_port = {web}
state_dir = {str(directory / "metaserver")!r}
build_dir = {str(directory / "buildserver")!r}
mail = None
_loaded = load({str(recipe)!r})
_loaded = _loaded if isinstance(_loaded, tuple) else (_loaded,)
projects = [one for one in _loaded if one.name in {tuple(chosen)!r} or not {tuple(chosen)!r}]
'''


def what_to_do(settings: Settings, levels: Sequence[SandboxLevel], program: str) -> Iterator[str]:
    """Yield the lines that say how the farm is used: ``program`` is how it was called."""
    several = len(levels) > 1
    yield ""
    yield f"A farm runs here until Ctrl-C: {len(levels)} build server{'s' if several else ''}, {_within(min(levels))}."
    yield ""
    yield f"  the pages, with a form to ask:  {settings.public_url}/"
    asking = str(Path(program).with_name("startcompile.py")) if "/" in program else "startcompile.py"
    for project in settings.projects:
        name = f" --project {project.name}" if len(settings.projects) > 1 else ""
        yield (
            f"  ask for {project.name}:  {asking} --host 127.0.0.1 --port {settings.pb_port}{name} --foreground "
            "you@example.org"
        )
    yield ""
    yield f"All of it lies in {settings.path.parent}, which is removed at the end."
    yield ""


def _within(level: SandboxLevel) -> str:
    """Return in what builds run, in words."""
    if level is SandboxLevel.NONE:
        return "whose builds run without a sandbox, since none can be had here: they can do what you can"
    return f"whose builds run {level.words}, as this machine has proved"
