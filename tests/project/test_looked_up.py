"""Whether a project knows its sources: of functions that look them up, and of such as make a URL of any text."""

import re
from collections.abc import Callable

import pytest

from buildtool.project.looked_up import WORDS, looks_up

KNOWN = {"": "/paint", "v1": "/v1", "v2": "/v2", "release1": "/r1", "release2": "/r2", "libs/png": "/png"}
HOSTS = {"gh": "https://github.com/", "gl": "https://gitlab.com/"}


def formed(form: str) -> Callable[[str], str]:
    """Return a function that makes a URL of every text of one form, and refuses all others."""

    def path_to_url(source: str) -> str:
        if not re.fullmatch(form, source):
            raise LookupError(f"no source {source}")
        return f"https://git.example/{source}"

    return path_to_url


@pytest.mark.parametrize("source", KNOWN)
def test_a_project_that_has_a_table_of_its_sources_looks_them_up(source: str) -> None:
    assert looks_up(KNOWN.__getitem__, source)


@pytest.mark.parametrize(
    ("path_to_url", "source"),
    [
        (lambda source: f"https://git.example/{source}", "fork"),
        (lambda source: HOSTS[source.split("/")[0]] + source.partition("/")[2], "gh/stranger/fork"),
        (lambda source: "https://git.example/{}/{}".format(*source.split("/")), "stranger/fork"),
        (lambda source: "https://git.example/" + source.split(":")[1], "fork:stranger"),
        (formed(r"https://\w+\.example/\w+\.git"), "https://evil.example/paint.git"),
        (formed(r"forks/[a-z]+"), "forks/mallory"),
        (formed(r"review-\d+"), "review-17"),
        (formed(r"forks/\w{8}"), "forks/mallory1"),
    ],
)
def test_who_makes_a_url_of_what_has_the_right_form_knows_no_source(
    path_to_url: Callable[[str], str], source: str
) -> None:
    assert path_to_url(source)
    assert not looks_up(path_to_url, source)


def test_a_source_of_very_many_words_is_not_tried_and_not_believed() -> None:
    asked: list[str] = []

    def path_to_url(source: str) -> str:
        asked.append(source)
        raise LookupError(source)

    assert not looks_up(path_to_url, "a/" * (WORDS + 1))
    assert not asked
