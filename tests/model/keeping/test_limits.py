"""The setting ``keep`` says how long and how much is kept, or is refused in a line that says what would be right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import UsageError
from buildtool.model.keeping.limits import GRACE, KEPT_ALL, Keeping, KeptKind, Limit, keeping_of, size_of

DAY = 86_400.0

limits = st.builds(Limit, st.none() | st.integers(1, 9_999).map(float), st.none() | st.integers(0, 2**50))
settings = st.builds(
    Keeping, st.dictionaries(st.sampled_from(KeptKind), limits), st.just(GRACE) | st.integers(0, 999).map(float)
)


@given(settings)
def test_what_is_told_of_the_setting_is_read_as_the_same(setting: Keeping) -> None:
    assert keeping_of(setting.told()) == setting


def test_ages_and_sizes_are_read() -> None:
    read = keeping_of({"logs": {"age": "90d", "size": "20GiB"}, "artifacts": {"size": 5}, "grace": "7d"})
    assert read.of(KeptKind.LOGS) == Limit(90 * DAY, 20 * 1024**3)
    assert read.of(KeptKind.ARTIFACTS) == Limit(None, 5)
    assert read.grace == 7 * DAY
    assert keeping_of({}) == KEPT_ALL
    assert not KEPT_ALL.of(KeptKind.LOGS).limited


@pytest.mark.parametrize(
    ("said", "size"),
    [("0", 0), ("12", 12), ("3B", 3), ("2K", 2048), ("2 MiB", 2 << 20), ("4T", 4 << 40)],
)
def test_sizes_are_read_in_the_usual_units(said: str, size: int) -> None:
    assert size_of(said, "it") == size


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (7, r"keep = 7 is not usable: it is such as \{"),
        ({"log": {"age": "1d"}}, r"keep: 'log' is nothing that can be limited: did you mean 'logs'\?"),
        ({"zebras": {}}, r"keep: 'zebras' is nothing that can be limited: it is such as \{"),
        ({"logs": "90d"}, r"keep: logs = '90d' is not usable: it is \{.* or one of these"),
        ({"logs": {"aeg": "90d"}}, r"keep: logs = .* is not usable"),
        ({"logs": {"age": 90}}, r"keep: logs: age = 90 is not usable: it is a text such as '12h' or '90d'"),
        ({"logs": {"age": "0s"}}, r"keep: logs: age = '0s' is not usable: it is from 1s to 36500d"),
        ({"logs": {"size": "20 apples"}}, r"keep: logs: size = '20 apples' is not usable: it is a text such as"),
        ({"logs": {"size": -1}}, r"keep: logs: size = -1 is not usable"),
        ({"logs": {"size": True}}, r"keep: logs: size = True is not usable"),
        ({"grace": "never"}, r"keep: grace = 'never' is not usable"),
    ],
)
def test_what_is_wrong_is_said_with_what_would_be_right(said: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        keeping_of(said)
