"""Each rule for docstrings refuses a bad one and lets a good one pass."""

from pathlib import Path

import pytest

from tests.support.docstrings import docstring_violations, first_words

WRONG = {
    "a verb that is none": ('def f(): "Say whether it is there."', "f: begins with Say"),
    "a method's too": ('class A:\n "A thing."\n async def f(self): "Whether it is there."', "A.f: begins with Whether"),
    "no subject": ('def f(): "Stop."', "says Stop, but not what"),
    "a pronoun for a subject": ('def f(): "Stop it: the process ends."', "says Stop, but not what"),
    "a class that does something": ('class A: "Reads a file."', "A: begins with Reads"),
    "a class that is a riddle": ('class A: "What is read."', "A: begins with What"),
    "a peer without a name": ('def f(): "Send whoever waits the answer."', "says whoever: name who that is"),
    "a class of theirs": ('class A: "A call. Nobody waits for it."', "A: says Nobody"),
    "a parameter without a unit": ('def f(timeout: float): "Wait for an answer."', "has no unit for timeout"),
    "a longer name": ('def f(*, idle_timeout: int | None): "Wait for an answer."', "has no unit for idle_timeout"),
    "a result without a unit": ('def size() -> int: "Return how much there is."', "has no unit for size"),
    "a float without a unit": ('def f() -> float: "Return what is left."', "has no unit for f"),
    "a field without a unit": ('class A:\n "A limit."\n size: int = 1', "A: has no unit for size"),
    "a property that does something": (
        'class A:\n "A thing."\n @property\n def b(self): "Return b."',
        "A.b: begins with Return",
    ),
    "a property that is described elsewhere": (
        'class A:\n "A thing."\n @property\n def b(self): "See B."',
        "A.b: begins with See",
    ),
    "a property without a unit": (
        'class A:\n "A file."\n @property\n def size(self) -> int: "The size."',
        "has no unit",
    ),
    "an error that is not named": (
        'class Broken(Exception): "A broken thing."\ndef f():\n "Check a thing."\n raise Broken("no")',
        "does not name Broken",
    ),
    "an error in a handler": (
        """
class Broken(Exception): "A broken thing."
def f():
    "Check a thing."
    try: g()
    except OSError as error: raise Broken from error
""",
        "does not name Broken",
    ),
}

RIGHT = {
    "a verb and its subject": 'def f(): "Return the name."',
    "a class that is something": 'class A: "A reader of files."',
    "a property, which is described as what it looks like": (
        'class A:\n "A thing."\n @property\n def b(self): "Whether it is there."'
    ),
    "nothing that is private": 'def _f(): "Say it."\nclass _A:\n def f(self): "Say it."',
    "nothing that has no docstring": "def f(timeout: float): ...",
    "a unit in the docstring": 'def f(timeout: float): "Wait for ``timeout`` seconds."',
    "a unit in the class's": 'class A:\n "A queue; seconds."\n def f(self, now: float): "Return the next."',
    "a unit in the module's": '"""Queues; times are in seconds."""\ndef f(now: float): "Return the next."',
    "a unit in the name": 'def f(timeout_seconds: float): "Wait for an answer."',
    "a number of things": 'def f(limit: int): "Return at most ``limit`` mails."',
    "a name that is no quantity": 'def f(epoch: int): "Return the attempt."',
    "a quantity that is no number": 'def f(limit: Limit): "Return the mails."',
    "an error by its name": (
        'class Broken(Exception): "A broken thing."\ndef f():\n "Check a thing. Raises Broken."\n raise Broken("no")'
    ),
    "an error by its base's name": (
        'class Broken(Exception): "A broken thing."\nclass Bent(Broken): "A bent thing."\n'
        'def f():\n "Check a thing. Raises Broken."\n raise Bent'
    ),
    "an error that is all it does": (
        'class Broken(Exception): "A broken thing."\ndef f():\n "Raise the error for a thing."\n raise Broken("no")'
    ),
    "an error that the class names": (
        'class Broken(Exception): "A broken thing."\n'
        'class A:\n "A thing. Every method raises Broken."\n def f(self):\n  "Check a thing."\n  raise Broken'
    ),
    "an error that it handles itself": (
        'class Broken(Exception): "A broken thing."\n'
        'def f():\n "Check a thing."\n try:\n  raise Broken\n except Broken:\n  pass'
    ),
    "an error of a function inside": (
        'class Broken(Exception): "A broken thing."\ndef f():\n "Return a check."\n def g():\n  raise Broken\n return g'
    ),
    "an error that is not ours": 'def f():\n "Check a thing."\n raise ValueError("no")',
}


def write(root: Path, code: str) -> Path:
    (root / "buildtool/model").mkdir(parents=True)
    (root / "buildtool/model/a.py").write_text(code)
    return root


@pytest.mark.parametrize("what", WRONG)
def test_a_bad_docstring_is_refused_once(tmp_path: Path, what: str) -> None:
    code, said = WRONG[what]
    (found,) = docstring_violations(write(tmp_path, code))
    assert found.startswith("buildtool/model/a.py:")
    assert said in found


@pytest.mark.parametrize("what", RIGHT)
def test_a_good_docstring_passes(tmp_path: Path, what: str) -> None:
    assert docstring_violations(write(tmp_path, RIGHT[what])) == []


def test_first_words_are_counted(tmp_path: Path) -> None:
    code = 'def f(): "Return a."\ndef g(): "Return b."\nclass A:\n "A thing."\n def h(self): "Stop a thing."'
    assert first_words(write(tmp_path, code)) == {"Return": 2, "Stop": 1}
