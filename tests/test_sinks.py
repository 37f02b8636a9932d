"""Every place where text leaves the programs for a terminal, a log, a mail or a page goes through ``domain.text``."""

import ast
from collections.abc import Iterator
from pathlib import Path

import buildtool
from buildtool.domain import text

PACKAGE = Path(buildtool.__file__).parent
WEB = PACKAGE.parent / "web"
OWN_WORDS = {"entry/demo.py", "entry/demo_lua.py", "entry/showing.py", "entry/sources.py", "entry/mailbox.py"}
"""Programs that only say what they themselves made up, or clean it (mailbox)."""

SINKS = {
    "entry/output.py": {"block", "printable"},
    "entry/common.py": {"one_line"},
    "entry/consoles.py": {"log_line", "printable"},
    "requester/lines.py": {"one_line"},
    "requester/outcome.py": {"one_line"},
    "adapters/mail_text.py": {"log_line", "printable"},
    "adapters/findings.py": {"one_line"},
    "buildlog.py": {"block"},
    "domain/turn.py": {"one_line"},
    "domain/waiting.py": {"one_line"},
    "metaserver/operator.py": {"one_line"},
    "web/rendering.py": {"block"},
}
"""Where text leaves, and by which of the functions it is cleaned there."""


def trees() -> Iterator[tuple[str, ast.Module]]:
    for root, prefix in ((PACKAGE, ""), (WEB, "web/")):
        for path in sorted(root.rglob("*.py")):
            yield prefix + path.relative_to(root).as_posix(), ast.parse(path.read_text())


def test_each_sink_uses_the_one_function() -> None:
    found = dict(trees())
    for name, functions in SINKS.items():
        called = {node.id for node in ast.walk(found[name]) if isinstance(node, ast.Name)}
        assert functions <= called, name
        assert functions <= set(text.__all__), name


def test_nothing_else_prints_or_writes_on_a_standard_stream() -> None:
    for name, tree in trees():
        if name in OWN_WORDS or name in SINKS:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                assert not (isinstance(node.func, ast.Name) and node.func.id == "print"), f"{name}:{node.lineno}"
                stream = node.func.value if isinstance(node.func, ast.Attribute) else None
                standard = isinstance(stream, ast.Attribute) and stream.attr in ("stdout", "stderr")
                writes = isinstance(node.func, ast.Attribute) and node.func.attr in ("write", "writelines")
                assert not (standard and writes), f"{name}:{node.lineno}"


def test_nobody_has_an_expression_of_their_own_for_control_characters() -> None:
    """What one of them forgets, an attacker finds: ESC and its kin stand in one module."""
    for name, tree in trees():
        if name == "domain/text.py":
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not {"\x1b", "\x9b", "\u202e"} & set(node.value), f"{name}:{node.lineno}"
                assert r"\x1b" not in node.value, f"{name}:{node.lineno}"
