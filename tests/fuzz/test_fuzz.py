"""What looks for harmful input works: it feeds what is kept, finds a planted defect, and a few seconds find nothing.

``make fuzz`` and ``make long`` look for longer.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.control import decoder
from tests.fuzz import engine, planted
from tests.fuzz.table import TARGETS
from tests.fuzz.target import CORPUS, Target
from tests.support.lanes import examples

SECONDS = 1.0
"""Of each target here: `make test` has four minutes for everything, and `make long` looks on."""

SEED = 10 if os.environ.get("CI") else random.getrandbits(32)
MOST_KEPT, LARGEST_KEPT = 400, 20_000
ALL = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)

pytestmark = pytest.mark.world


@ALL
def test_what_is_kept_is_small_and_does_no_harm(target: Target) -> None:
    corpus = target.corpus()
    assert 0 < len(corpus) <= MOST_KEPT
    assert max(map(len, corpus)) <= LARGEST_KEPT
    assert engine.replay(target) == engine.Report(target.name, len(corpus))


def test_there_is_no_corpus_without_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


@ALL
def test_mutated_cut_repeated_nested_reordered_and_oversized_input_does_no_harm(target: Target) -> None:
    report = engine.mutate(target, SECONDS, SEED)
    assert not report.found, f"seed {SEED}: {report.found}: {report.data!r}"
    assert report.inputs > 0


@ALL
def test_what_hypothesis_draws_does_no_harm(target: Target) -> None:
    corpus = target.corpus()
    kept = st.sampled_from(corpus).flatmap(
        lambda data: st.tuples(st.integers(0, len(data)), st.integers(0, len(data))).map(
            lambda ends: data[min(ends) : max(ends)]
        )
    )
    words = [st.sampled_from(target.words)] if target.words else []

    @given(st.lists(st.one_of(kept, st.binary(max_size=40), *words), max_size=8).map(b"".join))
    def draw(data: bytes) -> None:
        target.feed(data)

    draw()


def test_the_plain_engine_finds_a_planted_defect_and_tells_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def short_item(kind: int, number: int) -> object:
        return decoder._VOCABULARY[number] if kind == decoder._VOCAB else number  # a word that is none: KeyError

    monkeypatch.setattr(decoder, "_short_item", short_item)
    report = engine.mutate(TARGETS["pb_decoder"], 60.0, 1)
    assert report.found.startswith("KeyError")
    assert "KeyError" in engine.tried(TARGETS["pb_decoder"], report.data)
    monkeypatch.undo()
    assert not engine.tried(TARGETS["pb_decoder"], report.data)


def test_an_input_that_takes_too_long_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count(0, engine.SLOWEST + 1)
    monkeypatch.setattr(time, "process_time", lambda: float(next(ticks)))
    assert "takes" in engine.tried(TARGETS["ranges"], b"")


@pytest.mark.skipif(not engine.guided_is_there(), reason="atheris has no wheel for this Python and machine")
def test_atheris_finds_a_defect_behind_a_word_that_no_mutation_guesses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "MADE", tmp_path)
    monkeypatch.setattr(engine, "CORPUS", tmp_path / "corpus")
    (tmp_path / "corpus" / planted.TARGET.name).mkdir(parents=True)
    report = engine.guided(planted.TARGET, 60.0, f"{planted.__name__}:")
    assert "PlantedDefect" in report.found, report
    with pytest.raises(planted.PlantedDefect):
        planted.TARGET.feed(report.data)


@pytest.mark.parametrize(
    "spoilt",
    [lambda data: data[:0], lambda data: data * 50, lambda data: data[::-1], lambda data: b"\xff" * 5_000 + data],
    ids=["nothing", "fifty times", "backwards", "a long prefix"],
)
@ALL
def test_the_corpus_spoilt_as_a_whole_does_no_harm(target: Target, spoilt: Callable[[bytes], bytes]) -> None:
    for data in target.corpus()[:: max(1, len(target.corpus()) // examples(5))]:
        target.feed(spoilt(data))
