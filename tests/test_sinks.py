"""Every place where text leaves the programs for a terminal, a log, a mail or a page goes through ``model.text``."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildtool.model import text
from tests.support.checkout import read_checkout

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.xdist_group("checkout")  # whose syntax trees are read once

OWN_WORDS = {f"demo/{name}.py" for name in ("demo", "demo_lua", "demo_platforms", "narrator", "sources", "mailbox")}
"""Programs that only say what they themselves made up, or clean it (mailbox)."""

SINKS = {
    "programs/common/output.py": {"block", "printable"},
    "programs/common/program.py": {"one_line"},
    "programs/startcompile/consoles.py": {"log_line", "printable"},
    "programs/startcompile/terminal.py": {"printable"},
    "requester/text.py": {"one_line"},
    "requester/outcome.py": {"one_line"},
    "adapters/mail/plain_text.py": {"log_line", "printable"},
    "adapters/maintenance/finding.py": {"one_line"},
    "buildserver/log_upload.py": {"block"},
    "scheduling/decision.py": {"one_line"},
    "scheduling/waiting.py": {"one_line"},
    "metaserver/farm_status.py": {"one_line"},
    "web/rendering.py": {"block"},
}
"""Where text leaves, and by which of the functions it is cleaned there."""


def trees() -> Iterator[tuple[str, ast.Module]]:
    for module in read_checkout(ROOT).modules.values():
        if module.group != "bin":
            yield module.path.removeprefix("buildtool/"), module.tree


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
        if name == "model/text.py":
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not {"\x1b", "\x9b", "\u202e"} & set(node.value), f"{name}:{node.lineno}"
                assert r"\x1b" not in node.value, f"{name}:{node.lineno}"


def test_what_is_logged_is_a_format_of_ours_and_never_a_text_that_somebody_else_has_a_part_in() -> None:
    """A text as format could name any attribute of what is logged with it, or raise for a brace."""
    levels = {"debug", "info", "warn", "error", "critical", "failure", "emit"}
    for name, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in levels:
                logger = node.func.value
                called = logger.id if isinstance(logger, ast.Name) else getattr(logger, "attr", "")
                if called.lstrip("_") == "log":
                    assert isinstance(node.args[0], ast.Constant), f"{name}:{node.lineno}"
