"""Docstrings of what is public say what it is or does to a reader who has not read the code. Five rules hold.

- A function's begins with a plain verb of ``VERBS`` and what the verb is about, which no pronoun says.
- A class's begins with an article and the noun that says what it is.
- Who does or has something is named: no "nobody", "somebody", "everybody" or "whoever".
- A quantity, which is every float and some whole numbers, has a unit: in its name, or in the docstring of function,
  class or module.
- An error of ours that a function raises itself is named in the docstring of function or class, or one of its bases is.

A property is described as the attribute that it looks like ("The number of ..."), so its docstring begins with no verb.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

from attrs import frozen

from tests.support.checkout import Checkout, Module, read_checkout

VERBS = frozenset(
    (
        "Accept Add Admit Answer Append Apply Ask Build Call Cancel Check Clear Close Collect Compare Compose"
        " Compress Confirm Connect Convert Copy Count Create Decide Decode Delay Delete Deliver Describe Drop Empty"
        " Encode End Expire Export Fail Fetch Fill Find Finish Follow Forget Format Hide Hold Ignore Import Install"
        " Join Keep Kill Limit List Listen Load Lock Log Make Mark Match Measure Merge Migrate Move Offer Open"
        " Order Pack Parse Pause Perform Pick Pin Prepare Print Publish Put Raise Read Receive Record Refuse"
        " Register Reject Release Remember Remove Rename Render Renew Repair Replace Report Resolve Restart"
        " Restore Resume Retry Return Revoke Roll Run Save Schedule Select Send Serve Set Show Signal Skip Sort Split"
        " Start Stop Store Submit Sync Take Try Undo Unlock Unpack Update Use Validate Verify Wait Wake Write"
        " Yield"
    ).split()
)
"""Verbs that say what a function does to a reader who has not read the code."""

ARTICLES = frozenset("A All An Each Every No One Several The".split())

PRONOUNS = frozenset("it so them".split())

UNNAMED = re.compile(r"\b(everybody|nobody|somebody|whoever)\b", re.IGNORECASE)
"""Words for a peer, process or person that a docstring can name."""

QUANTITIES = frozenset("age deadline delay interval lease length limit now offset rate size timeout until wait".split())
"""Last parts of names of whole numbers that mean nothing without a unit; a float needs one whatever its name."""

UNITS = re.compile(
    r"\b(bytes?|[KMG]iB|characters|clock|days?|hours?|lines|milliseconds|minutes|per cent|processors|seconds?|wall)\b"
)

PROPERTIES = frozenset({"property", "cached_property", "setter"})

Function = ast.FunctionDef | ast.AsyncFunctionDef


@frozen
class Documented:
    """A public function or class with its docstring, and the docstrings of what it stands in."""

    where: str
    node: Function | ast.ClassDef
    text: str
    around: str

    @property
    def word(self) -> str:
        """The first word."""
        return self.text.split(maxsplit=1)[0].strip("`.,:;")


def docstring_violations(root: Path) -> list[str]:
    """Return one sentence for each docstring of the checkout at `root` that breaks a rule."""
    checkout = read_checkout(root)
    errors = _errors(checkout)
    return [
        f"{one.where}: {said}"
        for module in checkout.modules.values()
        for one in documented(module)
        for said in (*_beginning(one), *_unnamed(one), *_without_unit(one), *_without_error(one, errors))
    ]


def documented(module: Module) -> Iterator[Documented]:
    """Yield every public function, method and class of a module that has a docstring."""
    scopes: list[tuple[str, str, ast.Module | ast.ClassDef]] = [("", ast.get_docstring(module.tree) or "", module.tree)]
    for scope, around, parent in scopes:  # grows while it is walked
        for node in parent.body:
            if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
                continue
            text = ast.get_docstring(node) or ""
            if isinstance(node, ast.ClassDef):
                scopes.append((f"{scope}{node.name}.", f"{around}\n{text}", node))
            if text:
                yield Documented(f"{module.path}:{node.lineno} {scope}{node.name}", node, text, around)


def first_words(root: Path) -> Counter[str]:
    """Return how often each word begins the docstring of a function."""
    return Counter(
        one.word
        for module in read_checkout(root).modules.values()
        for one in documented(module)
        if isinstance(one.node, Function) and not _is_property(one.node)
    )


def _beginning(one: Documented) -> Iterator[str]:
    if isinstance(one.node, ast.ClassDef):
        if one.word not in ARTICLES:
            yield f"begins with {one.word}, not with an article and what the class is"
    elif _is_property(one.node):
        if one.word in {*VERBS, "See"}:
            yield f"begins with {one.word}, not with what the property is"
    elif one.word not in VERBS:
        yield f"begins with {one.word}, no verb of tests/support/docstrings.py"
    elif not re.match(r"\w+,? ", one.text) or one.text.split()[1].strip(".,:;") in PRONOUNS:
        yield f"says {one.word}, but not what"


def _unnamed(one: Documented) -> Iterator[str]:
    for word in UNNAMED.findall(one.text):
        yield f"says {word}: name who that is"


def _without_unit(one: Documented) -> Iterator[str]:
    """Yield what is said of quantities whose unit is not said, be it seconds or "``limit`` mails"."""
    text = f"{one.text}\n{one.around}"
    for name in () if UNITS.search(text) else _quantities(one.node):
        if not re.search(rf"``{name}`` \w+s\b", text):
            yield f"has no unit for {name}"


def _quantities(node: Function | ast.ClassDef) -> Iterator[str]:
    """Yield the names of parameters or fields, and for its result the function's, whose number needs a unit."""
    pairs: list[tuple[str, ast.expr | None]]
    if isinstance(node, ast.ClassDef):
        fields = (field for field in node.body if isinstance(field, ast.AnnAssign))
        pairs = [(field.target.id, field.annotation) for field in fields if isinstance(field.target, ast.Name)]
    else:
        pairs = [(one.arg, one.annotation) for one in (*node.args.args, *node.args.kwonlyargs)]
        pairs.append((node.name, node.returns))
    for name, annotation in pairs:
        kind = ast.unparse(annotation).partition(" ")[0] if annotation is not None else ""
        says = UNITS.search(name.replace("_", " "))
        if not (name.startswith("_") or says) and (
            kind == "float" or (kind == "int" and name.rpartition("_")[2] in QUANTITIES)
        ):
            yield name


def _without_error(one: Documented, errors: Mapping[str, AbstractSet[str]]) -> Iterator[str]:
    """Yield what is said of errors of ours that are raised here and not named."""
    if isinstance(one.node, ast.ClassDef) or one.word == "Raise":
        return
    said = set(re.findall(r"\w+", f"{one.text}\n{one.around}"))
    for name in sorted(_raised(one.node)):
        if name in errors and not errors[name] & said:
            yield f"does not name {name}, which is raised here"


def _raised(function: Function) -> Iterator[str]:
    """Yield the names of what a function's own body raises."""
    nodes: list[ast.AST] = [*function.body]
    for node in nodes:  # grows while it is walked
        if isinstance(node, ast.Try) and node.handlers:
            nodes.extend((*node.handlers, *node.orelse, *node.finalbody))  # what is raised in its body may be caught
        elif not isinstance(node, Function | ast.Lambda | ast.ClassDef):
            nodes.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Raise) and node.exc is not None:
            yield _last(node.exc.func if isinstance(node.exc, ast.Call) else node.exc)


def _errors(checkout: Checkout) -> dict[str, set[str]]:
    """Return every exception of ours by name, with its own name and those of its bases."""
    found: dict[str, set[str]] = {"Exception": set()}
    classes = [n for module in checkout.modules.values() for n in module.tree.body if isinstance(n, ast.ClassDef)]
    while new := {
        one.name: {one.name}.union(*(found.get(_last(base), ()) for base in one.bases))
        for one in classes
        if one.name not in found and any(_last(base) in found for base in one.bases)
    }:
        found |= new
    return found


def _is_property(node: Function) -> bool:
    return any(_last(decorator) in PROPERTIES for decorator in node.decorator_list)


def _last(node: ast.expr) -> str:
    """Return the last part of a dotted name, as a decorator is written; "" for anything else."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
