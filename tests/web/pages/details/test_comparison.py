"""What was asked for stands beside what is built, with how the two compare."""

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.properties import Comparison
from buildtool.model.records import Artifact, Build
from buildtool.model.servers import OfferKind
from buildtool.model.trust.evidence import Evidence, EvidencePolicy, SandboxLevel
from buildtool.web.pages.details.comparison import ComparedRow, compared
from tests import strategies
from tests.web.farm import build, detail


def rows(made: Build, artifact: Artifact | None, **known: object) -> dict[str, ComparedRow]:
    return {it.name: it for it in compared(made.spec, artifact, **known)}  # type: ignore[arg-type] # as tests say


def test_each_property_says_how_it_compares_and_whether_it_fits() -> None:
    found = detail(1)
    platform = (("arch", "x86_64"), ("libc_version", "2.36"), ("os", "linux"), ("sound", "oss"))
    spec = evolve(found.build.spec, platform=platform, native=True)
    assert found.artifact is not None
    have = (("arch", "x86_64"), ("bits", 64), ("libc_version", "2.31"), ("os", "darwin"), ("sound", "alsa"))
    made = evolve(found.artifact, platform=have, kind=OfferKind.CROSS)
    shown = rows(evolve(found.build, spec=spec), made, comparisons={"sound": Comparison.AT_LEAST})
    assert shown["libc_version"] == ComparedRow("libc_version", "at most", "2.36", "2.31", fits=True)
    assert shown["bits"] == ComparedRow("bits", "", "any", "64", fits=True)
    assert (shown["os"].how, shown["os"].fits) == ("exactly", False)
    assert (shown["sound"].how, shown["sound"].fits) == ("at least", False)
    assert shown["built"].fits is False


def test_the_sandbox_is_compared_where_one_was_demanded_or_there_was_one() -> None:
    found = detail(1)
    assert found.artifact is not None
    assert "sandbox" not in rows(found.build, found.artifact)
    weak = evolve(found.artifact, evidence=Evidence(SandboxLevel.WEAK))
    assert rows(found.build, weak)["sandbox"] == ComparedRow("sandbox", "", "any", "weak", fits=True)
    strict = evolve(found.build, spec=evolve(found.build.spec, policy=EvidencePolicy(SandboxLevel.STRICT)))
    assert rows(strict, weak)["sandbox"] == ComparedRow("sandbox", "at least", "strict", "weak", fits=False)
    assert rows(strict, None)["sandbox"].fits is None


def test_a_default_that_was_asked_for_is_told_from_what_was_chosen() -> None:
    made = detail(1).build
    spec = evolve(made.spec, options=(("gc", "boehm"), ("jit", True)))
    shown = rows(evolve(made, spec=spec), None, defaults=(("gc", "boehm"), ("jit", 1)), refs=("main", "", "main"))
    assert (shown["gc"].usual, shown["jit"].usual) == (True, False)
    assert (shown["revision"].asked, shown["revision"].fits) == ("main, the newest", None)


@given(strategies.builds, st.none() | strategies.artifacts)
def test_everything_that_was_asked_for_has_its_row(made: Build, artifact: Artifact | None) -> None:
    named = [it.name for it in compared(made.spec, artifact)]
    assert {"revision", *dict(made.spec.platform), *dict(made.spec.options)} <= set(named)
    assert all(isinstance(it.asked, str) and isinstance(it.built, str) for it in compared(made.spec, artifact))


def test_what_is_not_built_fits_nothing_yet() -> None:
    made = build(9, detail(6).build.state, 10)
    assert {it.fits for it in compared(made.spec, None)} == {None}
