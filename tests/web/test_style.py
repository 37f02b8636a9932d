"""The colours of the pages: texts stand out from whatever ground they stand on, in both themes."""

import re
from itertools import product
from pathlib import Path

import pytest

CSS = (Path(__file__).parents[2] / "web/static/style.css").read_text("utf-8")
GROUNDS = ("page", "card", "sunk")
TEXTS = ("text", "soft", "link", "ok", "bad", "busy", "wait", "quiet")
FILLED = ("ok", "bad", "busy", "wait", "quiet")
PAIRS = [
    *product(TEXTS, GROUNDS),
    *((tone, f"{tone}-back") for tone in FILLED),
    ("on-mark", "mark"),
    ("text", "busy-back"),
]


def theme(number: int) -> dict[str, str]:
    """Return the colours of the light (0) or dark (1) theme by name."""
    block = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)[number]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour, as WCAG 2.2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, from 1 to 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_black_on_white_has_the_contrast_that_the_standard_says() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("number", [0, 1], ids=["light", "dark"])
def test_every_text_has_a_contrast_of_at_least_5_6(number: int) -> None:
    colours = theme(number)
    poor = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in PAIRS}
    assert {pair: round(found, 2) for pair, found in poor.items() if found < 5.6} == {}


@pytest.mark.parametrize("number", [0, 1], ids=["light", "dark"])
def test_every_edge_of_a_control_stands_out(number: int) -> None:
    colours = theme(number)
    assert min(contrast(colours["edge"], colours[ground]) for ground in GROUNDS) >= 3


def test_both_themes_have_the_same_colours() -> None:
    assert theme(0).keys() == theme(1).keys()
