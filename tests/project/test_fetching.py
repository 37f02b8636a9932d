"""What a recipe may name of the world outside: hosts, ports and files, and each mistake in one line."""

import pytest

from buildtool.errors import ConfigurationError
from buildtool.project.fetching import DOWNLOADS, HOSTS, Download, NamedHost
from buildtool.project.recipe import Command, Plan

SHA = "a" * 64


def plan(**more: object) -> Plan:
    return Plan(commands=[Command(["make"])], deliverables=["out"], **more)  # type: ignore[arg-type]


def test_a_host_is_allowed_on_the_usual_ports_or_on_the_one_that_is_named() -> None:
    usual, own = NamedHost.of("PyPI.org"), NamedHost.of("mirror.example.org:8080")
    asked = (("pypi.org", 443), ("pypi.org.", 80), ("pypi.org", 22), ("a.pypi.org", 443))
    assert [usual.allows(*one) for one in asked] == [
        True, True, False, False,
    ]  # fmt: skip
    assert (own.allows("mirror.example.org", 8080), own.allows("mirror.example.org", 443)) == (True, False)


@pytest.mark.parametrize(
    "wrong", ["", "https://pypi.org", "pypi.org/simple", "a b", "x:0", "x:99999", "x:", "-a.org", 3, "*.org", "é.org"]
)
def test_what_is_no_host_is_refused_with_what_would_be_right(wrong: object) -> None:
    with pytest.raises(ConfigurationError, match=r"names hosts such as 'pypi\.org'"):
        NamedHost.of(wrong)


def test_fetching_and_the_network_go_together_and_are_bounded() -> None:
    made = plan(fetch=[Command(["pip", "download"])], network=["pypi.org"])
    assert made.network == (NamedHost("pypi.org"),)
    for wrong in ({"fetch": [Command(["pip"])]}, {"network": ["pypi.org"]}):
        with pytest.raises(ConfigurationError, match="say both"):
            plan(**wrong)
    with pytest.raises(ConfigurationError, match=f"at most {HOSTS}"):
        plan(fetch=[Command(["x"])], network=[f"h{n}.org" for n in range(HOSTS + 1)])
    with pytest.raises(ConfigurationError, match=r"not the one 'pypi\.org'"):
        plan(network="pypi.org")


@pytest.mark.parametrize(
    ("url", "sha", "path", "said"),
    [
        ("ftp://x/y", SHA, "y", "begins with https://"),
        ("https://u:p@x/y", SHA, "y", "has no login"),
        ("https:///y", SHA, "y", "begins with https://"),
        ("https://x/ y", SHA, "y", "begins with https://"),
        ("https://x:99999/y", SHA, "y", "begins with https://"),
        ("https://x/y", "abc", "y", "64 hexadecimal digits"),
        ("https://x/y", SHA, "/y", "lie below the source"),
        ("https://x/y", SHA, "../y", "lie below the source"),
        ("https://x/y", SHA, "", "below the source"),
    ],
)
def test_a_download_that_cannot_be_is_refused(url: str, sha: str, path: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Download(url, sha, path)


def test_each_download_has_a_place_of_its_own() -> None:
    one = Download("https://x/y", SHA.upper(), "vendor/./y")
    assert (one.sha256, one.path) == (SHA, "vendor/y")
    assert plan(downloads=[one]).downloads == (one,)
    above = Download("https://x/y", SHA, ".")
    for wrong, said in (
        ([one, one], "path of its own"),
        ([above], "path of its own"),
        (["x"], "are Download"),
        ("x", "are a list"),
        ([one] * (DOWNLOADS + 1), f"at most {DOWNLOADS}"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            plan(downloads=wrong)
