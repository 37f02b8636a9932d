"""What was asked for beside what is built: each option and property, and how the two compare.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen

from buildtool.model.matching.satisfaction import really_needed
from buildtool.model.options import Canonical
from buildtool.model.platforms import Value
from buildtool.model.properties import Comparison, comparison_of, meets
from buildtool.model.records import Artifact, BuildSpec
from buildtool.model.servers import OfferKind
from buildtool.model.trust.evidence import SandboxLevel

from .. import words

_HOW = {
    Comparison.EXACT: "exactly",
    Comparison.AT_MOST: "at most",
    Comparison.AT_LEAST: "at least",
    Comparison.SUBSET: "all of these",
}
ANY = "any"
_NOTHING = "-"


@frozen
class ComparedRow:
    """An option or property: what was asked, how it compares, and what there is; ``fits`` is None where nothing is.

    ``usual`` says that the default was asked for.
    """

    name: str
    how: str
    asked: str
    built: str
    fits: bool | None
    usual: bool = False


def compared(
    spec: BuildSpec,
    artifact: Artifact | None,
    refs: Sequence[str] = (),
    comparisons: Mapping[str, Comparison] | None = None,
    defaults: Canonical | None = None,
) -> tuple[ComparedRow, ...]:
    """Return what was asked for, line by line; ``refs`` is how its revision was asked for.

    ``comparisons`` and ``defaults`` are the project's own, where they are known.
    """
    return (
        _revision(spec, artifact, refs),
        *_platform(spec, artifact, comparisons or {}),
        *_options(spec, artifact, dict(defaults or ())),
    )


def _revision(spec: BuildSpec, artifact: Artifact | None, refs: Sequence[str]) -> ComparedRow:
    asked = ", ".join(dict.fromkeys(ref or "the newest" for ref in refs)) or words.revision(spec.revision)
    built = words.revision(spec.revision)
    return ComparedRow("revision", "what that was then", asked, built, None if artifact is None else True)


def _platform(
    spec: BuildSpec, artifact: Artifact | None, comparisons: Mapping[str, Comparison]
) -> Iterator[ComparedRow]:
    wanted, have = dict(spec.platform), {} if artifact is None else really_needed(artifact, comparisons)
    for name in dict.fromkeys((*wanted, *have)):
        comparison = comparisons.get(name) or comparison_of(name)
        there = have.get(name)
        built = _NOTHING if there is None else words.value(there)
        if name not in wanted:
            yield ComparedRow(name, "", ANY, built, fits=True)
            continue
        fits = None if artifact is None else meets(comparison, wanted[name], there)
        yield ComparedRow(name, _HOW[comparison], words.value(wanted[name]), built, fits)
    if spec.native:
        made = _NOTHING if artifact is None else artifact.kind.words
        fits = None if artifact is None else artifact.kind is OfferKind.NATIVE
        yield ComparedRow("built", _HOW[Comparison.EXACT], OfferKind.NATIVE.words, made, fits)
    yield from _sandbox(spec, artifact)


def _sandbox(spec: BuildSpec, artifact: Artifact | None) -> Iterator[ComparedRow]:
    """Return the row of the sandbox, where one was demanded or there was one."""
    demanded, there = spec.policy.sandbox, artifact.evidence.sandbox if artifact is not None else SandboxLevel.NONE
    if demanded is SandboxLevel.NONE and there is SandboxLevel.NONE:
        return
    asked, how = (ANY, "") if demanded is SandboxLevel.NONE else (demanded.value, _HOW[Comparison.AT_LEAST])
    fits = None if artifact is None else demanded <= there
    yield ComparedRow("sandbox", how, asked, _NOTHING if artifact is None else there.value, fits)


def _options(spec: BuildSpec, artifact: Artifact | None, defaults: Mapping[str, Value]) -> Iterator[ComparedRow]:
    have = dict(artifact.options) if artifact is not None else {}
    for name, wanted in spec.options:
        there = have.get(name)
        yield ComparedRow(
            name,
            _HOW[Comparison.EXACT],
            words.value(wanted),
            _NOTHING if there is None else words.value(there),
            None if artifact is None else _same(there, wanted),
            usual=_same(defaults.get(name), wanted),
        )


def _same(one: Value | None, other: Value) -> bool:
    return type(one) is type(other) and one == other
