"""How large rooms, modules and classes may be, that a public class has a name of its own, and where tests stand.

Each rule has a list of exceptions in tests/support/exceptions.py, which may only shrink: an exception that is no longer
needed is a breach as well.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

from attrs import frozen

from tests.support.checkout import Checkout, Module, read_checkout

MODULES = 14
"""The most modules in one folder, its ``__init__.py`` not counted."""

LINES = 400
"""The most lines in one module."""

METHODS = 20
"""The most methods and properties in one class."""


@frozen
class Exceptions:
    """What may break a rule for now: folders, modules and classes with the figure that they may have, and names."""

    modules: Mapping[str, int]
    lines: Mapping[str, int]
    methods: Mapping[str, int]
    classes: AbstractSet[str]
    tests: AbstractSet[str]


NONE = Exceptions({}, {}, {}, frozenset(), frozenset())


def size_violations(root: Path, allowed: Exceptions = NONE) -> list[str]:
    """Return one sentence for each breach of these rules in the checkout at `root`, and for each needless exception."""
    checkout = read_checkout(root)
    return [
        *_over(_folders(checkout), MODULES, allowed.modules, "modules"),
        *_over({m.path: m.lines for m in checkout.modules.values()}, LINES, allowed.lines, "lines"),
        *_over(_classes(checkout), METHODS, allowed.methods, "methods"),
        *_listed(_shared_names(checkout), allowed.classes, "give each public class a name of its own"),
        *_listed(
            _without_test(checkout, root),
            allowed.tests,
            "its test stands at the mirrored path, or its docstring, or its package's, names the test that covers it",
        ),
    ]


def _over(figures: Mapping[str, int], most: int, allowed: Mapping[str, int], what: str) -> Iterator[str]:
    for name, figure in sorted(figures.items()):
        if figure > max(most, allowed.get(name, 0)):
            yield f"{name} has {figure} {what}, at most {allowed.get(name, most)} are allowed: split it"
    for name in sorted(allowed):
        if figures.get(name, 0) <= most:
            yield f"{name} is no exception to {most} {what} any more: take it from tests/support/exceptions.py"


def _listed(found: Mapping[str, str], allowed: AbstractSet[str], rule: str) -> Iterator[str]:
    for name in sorted(found.keys() - allowed):
        yield f"{name}{found[name]}: {rule}"
    for name in sorted(allowed - found.keys()):
        yield f"{name} is no exception any more ({rule}): take it from tests/support/exceptions.py"


def _folders(checkout: Checkout) -> dict[str, int]:
    folders: dict[str, int] = defaultdict(int)
    for module in checkout.modules.values():
        folders[module.folder] += not module.is_package
    return folders


def _classes(checkout: Checkout) -> dict[str, int]:
    """Return the number of methods and properties of every class, by module and name."""
    return {
        f"{module.name}.{cls.name}": len(
            {n.name for n in cls.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
        )
        for module in checkout.modules.values()
        for cls in _all_classes(module)
    }


def _all_classes(module: Module) -> Iterator[ast.ClassDef]:
    return (node for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef))


def _shared_names(checkout: Checkout) -> dict[str, str]:
    """Return the names that several public classes have, each with where they are."""
    where: dict[str, list[str]] = defaultdict(list)
    for module in checkout.modules.values():
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where[node.name].append(module.path)
    return {name: f" is a class in {', '.join(paths)}" for name, paths in where.items() if len(paths) > 1}


def _without_test(checkout: Checkout, root: Path) -> dict[str, str]:
    """Return the modules without a test at the mirrored path, if their docstring and their package's name none."""
    found = {}
    packages = {one.folder: ast.get_docstring(one.tree) or "" for one in checkout.modules.values() if one.is_package}
    for module in checkout.modules.values():
        if module.is_package or module.group in {"bin", "root"} or "/migrations/" in module.path:
            continue
        path = Path(module.path.removeprefix("buildtool/"))
        mirrored = root / "tests" / path.with_name(f"test_{path.name}")
        named = re.findall(r"tests/[\w/]+\.py", f"{ast.get_docstring(module.tree)} {packages.get(module.folder)}")
        if not mirrored.is_file() and not any((root / name).is_file() for name in named):
            found[module.path] = " has no test"
    return found
