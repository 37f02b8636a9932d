"""How large rooms, modules and classes may be, that a public class has a name of its own, and where tests stand."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.checkout import Checkout, Module, read_checkout

MODULES = 14
"""The most modules in one folder, its ``__init__.py`` not counted."""

LINES = 400
"""The most lines in one module."""

METHODS = 20
"""The most methods and properties in one class."""


def size_violations(root: Path) -> list[str]:
    """Return one sentence for each breach of these rules in the checkout at `root`."""
    checkout = read_checkout(root)
    return [
        *_over(_folders(checkout), MODULES, "modules"),
        *_over({m.path: m.lines for m in checkout.modules.values()}, LINES, "lines"),
        *_over(_classes(checkout), METHODS, "methods"),
        *_shared_names(checkout),
        *_without_test(checkout, root),
    ]


def _over(figures: Mapping[str, int], most: int, what: str) -> Iterator[str]:
    for name, figure in sorted(figures.items()):
        if figure > most:
            yield f"{name} has {figure} {what}, at most {most} are allowed: split it"


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


def _shared_names(checkout: Checkout) -> Iterator[str]:
    """Yield what is said of names that several public classes have."""
    where: dict[str, list[str]] = defaultdict(list)
    for module in checkout.modules.values():
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where[node.name].append(module.path)
    for name, paths in sorted(where.items()):
        if len(paths) > 1:
            yield f"{name} is a class in {', '.join(paths)}: give each public class a name of its own"


def _without_test(checkout: Checkout, root: Path) -> Iterator[str]:
    """Yield what is said of modules without a test at the mirrored path, of which no docstring names one."""
    packages = {one.folder: ast.get_docstring(one.tree) or "" for one in checkout.modules.values() if one.is_package}
    for module in checkout.modules.values():
        if module.is_package or module.group in {"bin", "root"} or "/migrations/" in module.path:
            continue
        path = Path(module.path.removeprefix("buildtool/"))
        mirrored = root / "tests" / path.with_name(f"test_{path.name}")
        named = re.findall(r"tests/[\w/]+\.py", f"{ast.get_docstring(module.tree)} {packages.get(module.folder)}")
        if not mirrored.is_file() and not any((root / name).is_file() for name in named):
            yield (
                f"{module.path} has no test: it stands at the mirrored path, or the docstring of the module or "
                "of its package names the test that covers it"
            )
