"""Docstrings of public functions and methods begin with a plain verb of one list; those that do not are counted.

A property is described as the attribute that it looks like ("The number of ..."), and is not asked.
"""

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.checkout import Module, read_checkout

VERBS = frozenset(
    (
        "Accept Add Admit Answer Append Apply Ask Build Call Cancel Check Clear Close Collect Compare Compose"
        " Compress Connect Convert Copy Count Create Decide Decode Delay Delete Deliver Describe Drop Empty Encode"
        " End Expire Export Fail Fetch Fill Find Finish Follow Forget Format Hide Hold Ignore Import Install Join"
        " Keep Kill Limit List Listen Load Lock Log Make Mark Match Measure Merge Migrate Move Offer Open"
        " Order Pack Parse Pause Perform Pick Pin Prepare Print Publish Put Raise Read Receive Record Refuse"
        " Register Reject Release Remember Remove Rename Render Renew Repair Replace Report Resolve Restart"
        " Restore Resume Retry Return Roll Run Save Schedule Select Send Serve Set Show Signal Skip Sort Split"
        " Start Stop Store Submit Sync Take Try Undo Unlock Unpack Update Use Validate Verify Wait Wake Write"
        " Yield"
    ).split()
)
"""Verbs that say what a function does to somebody who has not read the code."""

SLACK = 8
"""A room may have so many fewer than it is allowed: several people mend docstrings at once."""

PROPERTIES = frozenset({"property", "cached_property", "setter"})


def strange_beginnings(root: Path) -> dict[str, list[str]]:
    """Return by room, the docstrings of the checkout at `root` that begin otherwise: where, and with which word."""
    found: dict[str, list[str]] = {}
    for module in read_checkout(root).modules.values():
        for line, name, word in _beginnings(module):
            if word not in VERBS:
                found.setdefault(module.room, []).append(f"{module.path}:{line} {name}: {word}")
    return found


def docstring_violations(root: Path, allowed: Mapping[str, int]) -> list[str]:
    """Return one sentence for each room with more of them than `allowed`, or with fewer, which is no longer needed."""
    found = strange_beginnings(root)
    said = []
    for room in sorted(found.keys() | allowed.keys()):
        here, most = found.get(room, []), allowed.get(room, 0)
        if len(here) > most:
            said.append(
                f"{room}: {len(here)} docstrings begin with no verb of tests/support/docstrings.py, at most {most}: "
                + "; ".join(here)
            )
        elif len(here) < most - SLACK or (not here and most):
            said.append(
                f"{room}: only {len(here)} docstrings begin otherwise: lower {most} in tests/support/exceptions.py"
            )
    return said


def first_words(root: Path) -> Counter[str]:
    """Return how often each word begins a docstring that is asked here."""
    return Counter(word for module in read_checkout(root).modules.values() for _, _, word in _beginnings(module))


def _beginnings(module: Module) -> Iterator[tuple[int, str, str]]:
    """Yield line, name and first word of each docstring of a public function or method."""
    for scope, node in _public(module.tree):
        text = ast.get_docstring(node)
        if text:
            yield node.lineno, f"{scope}{node.name}", text.split(maxsplit=1)[0].rstrip(".,:;")


def _public(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    scopes: list[tuple[str, list[ast.stmt]]] = [("", tree.body)]
    for scope, body in scopes:  # grows while it is walked
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                scopes.append((f"{scope}{node.name}.", node.body))
            elif (
                isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                and not node.name.startswith("_")
                and not any(_last(decorator) in PROPERTIES for decorator in node.decorator_list)
            ):
                yield scope, node


def _last(node: ast.expr) -> str:
    """Return the last part of a dotted name, as a decorator is written; "" for anything else."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
