"""What the tests of the architecture read: each module of ours with its rank, its syntax tree and its imports."""

import ast
import gc
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

from attrs import frozen

RANKS = {
    "errors": 0,
    "model": 1,
    "concurrency": 1,
    "scheduling": 2,
    "protocol": 2,
    "project": 2,
    "configuration": 3,
    "ports": 3,
    "adapters": 4,
    "web": 4,
    "metaserver": 4,
    "buildserver": 4,
    "requester": 4,
    "client": 5,
    "programs": 6,
    "demo": 7,
}
"""Rank of everything directly inside buildtool/; a module imports its own group and lower ranks."""

ROOT_PACKAGE = ("root", 0)
LAUNCHERS = ("bin", 7)


@frozen
class Import:
    """One imported module and where it is imported."""

    target: str
    line: int


@frozen
class Module:
    """One source file: its dotted name, where it is, what it belongs to, its text and what it imports."""

    name: str
    path: str
    group: str
    rank: int
    text: str
    tree: ast.Module
    imports: tuple[Import, ...]

    @property
    def lines(self) -> int:
        """The number of lines of the file."""
        return self.text.count("\n")

    @property
    def is_package(self) -> bool:
        """Whether this is a folder's ``__init__.py``."""
        return self.path.endswith("/__init__.py")

    @property
    def folder(self) -> str:
        """The folder that the file is in."""
        return self.path.rpartition("/")[0]

    @property
    def room(self) -> str:
        """The group, or the folder of adapters/ ("adapters/sql")."""
        return room(self.name)


@frozen
class Checkout:
    """All modules of a checkout by their dotted names, and the files that have no rank."""

    modules: dict[str, Module]
    without_rank: tuple[str, ...]


@cache
def read_checkout(root: Path) -> Checkout:
    """Return every module of the checkout at `root`: buildtool/, web/ as buildtool.web, and the launchers in bin/.

    Each is read once in a process, whoever asks: parsing all of them takes longer than all that is asked of them.
    """
    files = dict(_files(root))
    modules = {}
    for name, path in files.items():
        placed = place(name)
        if placed is not None:
            shown = path.relative_to(root).as_posix()
            text = path.read_text("utf-8")
            tree = ast.parse(text, filename=shown)
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            modules[name] = Module(name, shown, *placed, text, tree, tuple(_imports(tree, package, files)))
    lost = tuple(f"{path.relative_to(root).as_posix()}: {name}" for name, path in files.items() if place(name) is None)
    gc.freeze()  # a million nodes that stay: collections need not look at them
    return Checkout(modules, lost)


def place(name: str) -> tuple[str, int] | None:
    """Return the group and rank of a dotted name of ours, None if it has none."""
    parts = name.split(".")
    if parts[0] == "bin":
        return LAUNCHERS
    if len(parts) == 1:
        return ROOT_PACKAGE
    return (parts[1], RANKS[parts[1]]) if parts[1] in RANKS else None


def room(name: str) -> str:
    """Return the room of a dotted name of ours: its group, or the folder of adapters/ that it is in."""
    parts = name.split(".")
    if parts[0] == "bin":
        return "bin"
    return "/".join(parts[1:3]) if parts[1:2] == ["adapters"] and len(parts) > 2 else [*parts, "root"][1]


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield every module by the name under which it is imported; web/ is buildtool.web, link or no link."""
    for top, prefix in (("buildtool", "buildtool"), ("web", "buildtool.web")):
        for path in sorted((root / top).rglob("*.py")):
            parts = path.relative_to(root / top).with_suffix("").parts
            if top == "buildtool" and parts[0] == "web":
                continue
            yield ".".join((prefix, *(p for p in parts if p != "__init__"))), path
    for path in sorted((root / "bin").glob("*")):
        if path.is_file():
            yield f"bin.{path.stem}", path


def _imports(tree: ast.Module, package: str, known: Collection[str]) -> Iterator[Import]:
    """Yield what a module imports, wherever in it the statement stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                ours = base.split(".")[0] == "buildtool"
                is_module = whole in known or (base == "buildtool" and place(whole) is not None)
                yield Import(base if ours and not is_module else whole, node.lineno)
