"""What a configuration says of weights is checked, and every mistake is told by what is right."""

import pytest

from buildtool.errors import UsageError
from buildtool.model.farm.weights import EVEN, read_nice, read_weights


def test_weights_are_read_by_name_and_who_is_not_named_has_one() -> None:
    said = read_weights({"requesters": {"CI@example.org": 4}, "projects": {"lua": 0.5}})
    assert (said.of_share("ci@example.org"), said.of_share("ann@example.org")) == (4.0, 1.0)
    assert (said.of_project("lua"), said.of_project("zlib")) == (0.5, 1.0)
    assert read_weights({}) == EVEN


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ([], "it is such as"),
        ({"people": {}}, "it is such as"),
        ({"requesters": 4}, "it has a weight for each name"),
        ({"requesters": {"ann@example.org": 0}}, "a weight is a number from 0.1 to 100"),
        ({"projects": {"lua": True}}, "a weight is a number from 0.1 to 100"),
        ({"projects": {"lua": float("nan")}}, "a weight is a number from 0.1 to 100"),
        ({"projects": {7: 1}}, "a weight is a number from 0.1 to 100"),
    ],
)
def test_a_weight_that_is_none_is_refused(said: object, wrong: str) -> None:
    with pytest.raises(UsageError, match=wrong):
        read_weights(said)


def test_how_nice_a_request_is_is_a_whole_number_that_does_not_move_it_forward() -> None:
    assert [read_nice(text) for text in ("0", "20")] == [0, 20]
    for wrong in ("-1", "21", "", "9" * 5000, "1.0"):
        with pytest.raises(UsageError, match="it is a whole number from 0 to 20"):
            read_nice(wrong)
