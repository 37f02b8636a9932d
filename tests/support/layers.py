"""Which way imports run and what may touch the outside world, read off the syntax trees of a checkout."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.support.checkout import Import, Module, place, read_checkout, room

ROOMS = frozenset(
    {
        ("control", "network"),
        ("control", "tls"),
        # The way out of a sandbox is opened where its commands are run.
        ("host", "network"),
        ("host", "processes"),
        ("host", "storage"),
        ("http", "network"),
        ("http", "storage"),
        ("http", "tls"),
        ("mail", "network"),
        ("notices", "http"),
        ("notices", "network"),
        ("notices", "tls"),
        ("maintenance", "network"),
        ("maintenance", "runtime"),
        ("maintenance", "sql"),
        ("maintenance", "storage"),
        ("tls", "network"),
        ("tls", "storage"),
        ("vcs", "processes"),
        ("vcs", "runtime"),
        ("vcs", "storage"),
    }
)
"""Which room of adapters/ may import which other."""

SCHEDULERS = ("buildtool.metaserver", "buildtool.programs.metaserver", "buildtool.scheduling")
"""Who may know how decisions are made."""

PURE_LIBRARY = frozenset(
    "__future__ abc attr attrs base64 binascii bisect collections collections.abc copy dataclasses"
    " datetime decimal difflib enum fnmatch fractions functools graphlib hashlib heapq hmac ipaddress"
    " itertools json math numbers operator posixpath re shlex statistics string struct textwrap types typing"
    " unicodedata urllib.parse weakref".split()
)
"""All that model/ and scheduling/ may import besides ours: nothing in it reads a clock, a file or chance."""

WORLD = frozenset(
    "asyncio concurrent fcntl glob mmap multiprocessing pty random resource secrets select selectors"
    " shutil socket sqlite3 ssl subprocess tempfile threading time uuid".split()
)
"""Library modules that touch the outside world: at home in adapters/, and in programs/ to compose them."""

WORLD_PARTS = frozenset({"twisted.internet.reactor", "twisted.internet.threads", "twisted.python.threadpool"})
"""The same in Twisted: the reactor is handed in, and threads are an adapter's."""

ONLY_ADAPTERS = frozenset({"alembic", "git", "sqlalchemy", "twisted.spread", "twisted.mail"})
"""Libraries that an adapter hides behind a port."""

PURE_OS = frozenset({"fspath", "sep", "PathLike"})
PURE_OS_PATH = frozenset({"basename", "commonpath", "dirname", "isabs", "join", "normpath", "split", "splitext"})
CLOCK_CALLS = frozenset({"now", "utcnow", "today"})
FILE_CALLS = frozenset({"read_text", "read_bytes", "write_text", "write_bytes", "iterdir", "rglob"})
BUILTIN_CALLS = frozenset({"open", "input"})
FREE = frozenset({"adapters", "client", "programs", "demo"})
PURE = frozenset({"model", "scheduling"})


def violations(root: Path) -> list[str]:
    """Return one sentence for each breach of the rules in the checkout at `root`; none when it is sound."""
    checkout = read_checkout(root)
    found = [f"{lost} has no rank: add it to RANKS in tests/support/checkout.py" for lost in checkout.without_rank]
    for module in checkout.modules.values():
        for imported in module.imports:
            found.extend(_import_breaches(module, imported))
        found.extend(_use_breaches(module))
    edges = {m.name: {i.target for i in m.imports if i.target in checkout.modules} for m in checkout.modules.values()}
    found.extend(_cycles(edges))
    return sorted(found)


def _within(name: str, modules: Iterable[str]) -> bool:
    return any(name == m or name.startswith(f"{m}.") for m in modules)


def _import_breaches(module: Module, imported: Import) -> Iterator[str]:
    where = f"{module.path}:{imported.line} imports {imported.target}"
    top = imported.target.split(".")[0]
    if top == "web":
        yield f"{where}: the pages are imported as buildtool.web, never as web"
    elif top == "bin":
        yield f"{where}: launchers are started, not imported"
    elif top == "buildtool":
        yield from _direction_breaches(module, imported.target, where)
    elif module.group in PURE:
        pure = imported.target in PURE_LIBRARY or imported.target.rpartition(".")[0] in PURE_LIBRARY
        if not (pure or imported.target.startswith("pathlib.Pure")):
            yield f"{where}: {module.group}/ uses the pure part of the standard library and attrs only"
    elif module.group not in FREE | {"bin"}:
        system_call = imported.target.startswith("os.") and imported.target.split(".")[1] not in PURE_OS | {"path"}
        if system_call or _within(imported.target, WORLD | WORLD_PARTS):
            yield f"{where}: only adapters/ and programs/ touch the outside world"
        elif _within(imported.target, ONLY_ADAPTERS):
            yield f"{where}: this library is hidden behind a port, in adapters/"


def _direction_breaches(module: Module, target: str, where: str) -> Iterator[str]:
    placed = place(target)
    if placed is None:
        yield f"{where}: there is no such part of buildtool"
        return
    group, rank = placed
    if module.group == "bin" and group != "programs":
        yield f"{where}: a launcher imports buildtool.programs only"
    elif rank > module.rank:
        yield f"{where}: upward, from {module.group} (rank {module.rank}) to {group} (rank {rank})"
    elif rank == module.rank and group != module.group:
        yield f"{where}: sideways, {module.group} and {group} do not know each other"
    elif group == module.group == "adapters":
        here, there = (name.partition("/")[2] for name in (module.room, room(target)))
        if here and there and here != there and (here, there) not in ROOMS:
            yield f"{where}: {here}/ does not know {there}/ (add the pair to ROOMS only with a reason)"
    elif group == "scheduling" and not _within(module.name, SCHEDULERS):
        yield f"{where}: only the metaserver and its program know how decisions are made"


def _use_breaches(module: Module) -> Iterator[str]:
    """Calls and attributes that touch the outside world without an import that says so."""
    if module.group in FREE | {"bin"}:
        return
    # Reading the configuration is what these are for.
    reader = module.group == "configuration"
    for node in ast.walk(module.tree):
        what = _clock(node) or (None if reader else _file(node))
        if what:
            line = getattr(node, "lineno", 0)
            yield f"{module.path}:{line} uses {what}: only adapters/ and programs/ touch the outside world"


def _clock(node: ast.AST) -> str | None:
    match node:
        case (
            ast.Call(func=ast.Attribute(value=ast.Name(id="datetime" | "date" as owner), attr=name))
            | ast.Call(func=ast.Attribute(value=ast.Attribute(attr="datetime" | "date" as owner), attr=name))
        ) if name in CLOCK_CALLS:
            return f"{owner}.{name}()"
    return None


def _file(node: ast.AST) -> str | None:
    match node:
        case ast.Call(func=ast.Name(id=name)) if name in BUILTIN_CALLS:
            return f"{name}()"
        case ast.Call(func=ast.Attribute(attr=name)) if name in FILE_CALLS:
            return f".{name}()"
        case ast.Attribute(value=ast.Name(id="os"), attr=name) if name not in PURE_OS | {"path"}:
            return f"os.{name}"
        case ast.Attribute(value=ast.Attribute(value=ast.Name(id="os"), attr="path"), attr=name):
            return None if name in PURE_OS_PATH else f"os.path.{name}"
    return None


def _cycles(edges: dict[str, set[str]]) -> Iterator[str]:
    """Name one way round for every strongly connected set of modules."""
    done: set[str] = set()
    for start in sorted(edges):
        if start in done:
            continue
        way = _way_back(start, edges)
        if way:
            done.update(way)
            yield f"import cycle: {' -> '.join(way)}"


def _way_back(start: str, edges: dict[str, set[str]]) -> list[str]:
    """A shortest way along the edges from `start` to itself, empty when there is none."""
    ways = [[start]]
    seen: set[str] = set()
    for way in ways:  # grows while it is walked: breadth first
        for target in sorted(edges[way[-1]]):
            if target == start:
                return [*way, start]
            if target not in seen:
                seen.add(target)
                ways.append([*way, target])
    return []
