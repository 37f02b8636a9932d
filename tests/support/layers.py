"""Which way imports run and what may touch the outside world, read off the syntax trees of a checkout."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from attrs import frozen

GROUPS = {
    "errors": ("errors", 0),
    "domain": ("domain", 1),
    "blame": ("plain", 2),
    "asker": ("plain", 2),
    "configfile": ("plain", 2),
    "inbox": ("plain", 2),
    "kept": ("plain", 2),
    "operator_protocol": ("plain", 2),
    "ports": ("plain", 2),
    "project": ("plain", 2),
    "projectcheck": ("plain", 2),
    "protocol": ("plain", 2),
    "raised": ("plain", 2),
    "recipecheck": ("plain", 2),
    "recipes": ("plain", 2),
    "settings": ("plain", 2),
    "wire": ("plain", 2),
    "adapters": ("adapters", 3),
    "migrations": ("adapters", 3),
    "web": ("web", 3),
    "attempt": ("shells", 3),
    "buildlog": ("shells", 3),
    "buildserver": ("shells", 3),
    "delivering": ("shells", 3),
    "metaserver": ("shells", 3),
    "requester": ("shells", 3),
    "entry": ("entry", 4),
}
"""Group and rank of everything directly inside buildtool/; a module imports its own group and lower ranks."""

ROOT_PACKAGE = ("root", 0)
LAUNCHERS = ("bin", 5)

PURE_LIBRARY = frozenset(
    "__future__ abc attr attrs base64 binascii bisect collections collections.abc copy dataclasses"
    " datetime decimal difflib enum fnmatch fractions functools graphlib hashlib heapq hmac ipaddress"
    " itertools json math numbers operator posixpath re shlex statistics string struct textwrap types typing"
    " unicodedata urllib.parse weakref".split()
)
"""All that domain/ may import besides itself and errors: nothing in it reads a clock, a file or chance."""

WORLD = frozenset(
    "asyncio concurrent fcntl glob mmap multiprocessing pty random resource secrets select selectors"
    " shutil socket sqlite3 ssl subprocess tempfile threading time uuid".split()
)
"""Library modules that touch the outside world: at home in adapters/, and in entry/ to compose them."""

WORLD_PARTS = frozenset({"twisted.internet.reactor", "twisted.internet.threads", "twisted.python.threadpool"})
"""The same in Twisted: the reactor is handed in, and threads are an adapter's."""

ONLY_ADAPTERS = frozenset({"alembic", "git", "sqlalchemy", "twisted.spread", "twisted.mail"})
"""Libraries that an adapter hides behind a port."""

PURE_OS = frozenset({"fspath", "sep", "PathLike"})
PURE_OS_PATH = frozenset({"basename", "commonpath", "dirname", "isabs", "join", "normpath", "split", "splitext"})
CLOCK_CALLS = frozenset({"now", "utcnow", "today"})
FILE_CALLS = frozenset({"read_text", "read_bytes", "write_text", "write_bytes", "iterdir", "rglob"})
BUILTIN_CALLS = frozenset({"open", "input"})
FREE = frozenset({"adapters", "entry"})


@frozen
class Import:
    """One imported module and where it is imported."""

    target: str
    line: int


@frozen
class Module:
    """One source file: its dotted name, where it is, what it belongs to, and its syntax tree."""

    name: str
    path: str
    group: str
    rank: int
    package: str
    tree: ast.Module


def violations(root: Path) -> list[str]:
    """Return one sentence for each breach of the rules in the checkout at `root`; none when it is sound."""
    found: list[str] = []
    modules: dict[str, Module] = {}
    for name, path in _files(root):
        place = _place(name)
        shown = path.relative_to(root).as_posix()
        if place is None:
            found.append(f"{shown}: {name} has no rank: add it to GROUPS in tests/support/layers.py")
            continue
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        tree = ast.parse(path.read_bytes(), filename=shown)
        modules[name] = Module(name, shown, *place, package, tree)
    edges: dict[str, set[str]] = {}
    for module in modules.values():
        imports = list(_imports(module, modules.keys()))
        edges[module.name] = {i.target for i in imports if i.target in modules}
        for imported in imports:
            found.extend(_import_breaches(module, imported))
        found.extend(_use_breaches(module))
    found.extend(_cycles(edges))
    return sorted(found)


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    """Every module by the name under which it is imported; web/ is buildtool.web, link or no link."""
    for top, prefix in (("buildtool", "buildtool"), ("web", "buildtool.web")):
        for path in sorted((root / top).rglob("*.py")):
            parts = path.relative_to(root / top).with_suffix("").parts
            if top == "buildtool" and parts[0] == "web":
                continue
            yield ".".join((prefix, *(p for p in parts if p != "__init__"))), path
    for path in sorted((root / "bin").glob("*")):
        if path.is_file():
            yield f"bin.{path.stem}", path


def _place(name: str) -> tuple[str, int] | None:
    """The group and rank of a dotted name of ours, None if nobody has given it one."""
    parts = name.split(".")
    if parts[0] == "bin":
        return LAUNCHERS
    return ROOT_PACKAGE if len(parts) == 1 else GROUPS.get(parts[1])


def _imports(module: Module, known: Iterable[str]) -> Iterator[Import]:
    """What a module imports, wherever in it the statement stands."""
    names = set(known)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.package.split(".")[: len(module.package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                ours = base.split(".")[0] == "buildtool"
                is_module = whole in names or (base == "buildtool" and _place(whole) is not None)
                yield Import(base if ours and not is_module else whole, node.lineno)


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
    elif module.group == "domain":
        pure = imported.target in PURE_LIBRARY or imported.target.rpartition(".")[0] in PURE_LIBRARY
        if not (pure or imported.target.startswith("pathlib.Pure")):
            yield f"{where}: domain/ uses the pure part of the standard library and attrs only"
    elif module.group not in FREE | {"bin"}:
        system_call = imported.target.startswith("os.") and imported.target.split(".")[1] not in PURE_OS | {"path"}
        if system_call or _within(imported.target, WORLD | WORLD_PARTS):
            yield f"{where}: only adapters/ and entry/ touch the outside world"
        elif _within(imported.target, ONLY_ADAPTERS):
            yield f"{where}: this library is hidden behind a port, in adapters/"


def _direction_breaches(module: Module, target: str, where: str) -> Iterator[str]:
    place = _place(target)
    if place is None:
        yield f"{where}: there is no such part of buildtool"
        return
    group, rank = place
    if module.group == "bin" and group != "entry":
        yield f"{where}: a launcher imports buildtool.entry only"
    elif rank > module.rank:
        yield f"{where}: upward, from {module.group} (rank {module.rank}) to {group} (rank {rank})"
    elif rank == module.rank and group != module.group:
        yield f"{where}: sideways, {module.group} and {group} do not know each other"


def _use_breaches(module: Module) -> Iterator[str]:
    """Calls and attributes that touch the outside world without an import that says so."""
    if module.group in FREE | {"bin"}:
        return
    # Reading the configuration is what these are for.
    reader = module.name in {"buildtool.settings", "buildtool.configfile"}
    for node in ast.walk(module.tree):
        what = _clock(node) or (None if reader else _file(node))
        if what:
            line = getattr(node, "lineno", 0)
            yield f"{module.path}:{line} uses {what}: only adapters/ and entry/ touch the outside world"


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
