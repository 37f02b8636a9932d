"""Every regular expression of the program, found in its syntax trees: where it is, what it is, how it is used."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from tests.support.checkout import read_checkout

ROOT = Path(__file__).resolve().parent.parent.parent
METHODS = frozenset("match fullmatch search sub subn split findall finditer".split())


@frozen
class Expression:
    """One expression. ``pattern`` is None where it is made while the program runs; ``methods`` are used on it."""

    place: str
    pattern: re.Pattern[str] | re.Pattern[bytes] | None
    methods: frozenset[str]

    @property
    def key(self) -> str | bytes:
        """What it is registered under: its own text."""
        return self.pattern.pattern if self.pattern is not None else self.place


def expressions() -> Iterator[Expression]:
    """Return all of them."""
    for module in read_checkout(ROOT).modules.values():
        if "/migrations/" not in module.path and module.group != "bin":
            yield from _in_module(module.path, module.tree)


def _in_module(name: str, tree: ast.Module) -> Iterator[Expression]:
    called = _called(tree)
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "re"):
            continue
        how = node.func.attr
        if how == "compile":
            target = _target(tree, node)
            methods = frozenset(called.get(target, ())) or frozenset({"search"})
            pattern = _value(name, target, node)
        elif how in METHODS:
            methods, pattern = frozenset({how}), _literal(node)
        else:
            continue
        yield Expression(f"{name}: {ast.unparse(node.args[0])}" if pattern is None else name, pattern, methods)


def _called(tree: ast.Module) -> dict[str, set[str]]:
    """Return which methods are called on which name."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr in METHODS:
            found.setdefault(node.value.id, set()).add(node.attr)
    return found


def _target(tree: ast.Module, call: ast.Call) -> str:
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is call:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            return target.id if isinstance(target, ast.Name) else ""
    return ""


def _value(name: str, target: str, call: ast.Call) -> re.Pattern[str] | re.Pattern[bytes] | None:
    if target:
        dotted = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        module = importlib.import_module(f"buildtool.{dotted}" if dotted.startswith("web.") else dotted)
        found = getattr(module, target)
        assert isinstance(found, re.Pattern)
        return found
    return _literal(call)


def _literal(call: ast.Call) -> re.Pattern[str] | re.Pattern[bytes] | None:
    first = call.args[0].value if isinstance(call.args[0], ast.Constant) else None
    last = call.args[-1]
    flags = re.NOFLAG
    for part in ast.walk(last):
        if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id == "re":
            flags |= getattr(re, part.attr)
    if isinstance(first, bytes):
        return re.compile(first, flags)
    return re.compile(first, flags) if isinstance(first, str) else None
