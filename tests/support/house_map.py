"""The map of the house: rooms as boxes by rank, imports as arrows; `make map` writes it to docs/map.svg.

No arrow leads to the rooms that everybody may use, nor where a chain of others leads: its count stands in the box.
"""

import sys
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

from attrs import frozen

from tests.support.checkout import LAUNCHERS, RANKS, read_checkout

PICTURE = "docs/map.svg"

ORDER = (
    "bin demo programs client web requester buildserver metaserver adapters ports configuration scheduling protocol"
    " project model concurrency errors"
    " adapters/mail adapters/control adapters/http adapters/maintenance adapters/vcs adapters/host"
    " adapters/network adapters/sql adapters/storage adapters/runtime adapters/processes"
).split()
"""From left to right, within a rank; a room that is not named here stands last."""

FOR_ALL = {"errors", "model", "concurrency"}
"""Rooms that everybody may use: an arrow from each of the others would say nothing."""

WIDTH, MARGIN = 1480, 24
BOX, HIGH, GAP = 184, 74, 54
NARROW = 158
LETTERS = 34
"""As many as fit into a line of a box."""

NEAR = 0.1
"""How far a figure of the picture may be from the code, as a part of it; `make map` mends it."""


@frozen
class House:
    """What the map shows: modules and lines of each room, and how many imports lead from room to room."""

    rooms: Mapping[str, tuple[int, int]]
    arrows: Mapping[tuple[str, str], int]


@frozen
class Box:
    """One room in the picture."""

    x: float
    y: float
    width: float
    height: float


def survey(root: Path) -> House:
    """Return rooms and arrows of the checkout at `root`; adapters/ is a room, and so is each folder in it."""
    modules = read_checkout(root).modules
    rooms: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    arrows: Counter[tuple[str, str]] = Counter()
    for module in modules.values():
        for name in {module.group, module.room} - {"root"}:
            count, lines = rooms[name]
            rooms[name] = count + (not module.is_package), lines + module.lines
        for target in {one.target for one in module.imports} & modules.keys():
            there = modules[target]
            if there.group not in {module.group, "root"}:
                arrows[module.group, there.group] += 1
            if module.room != there.room and "/" in module.room:
                arrows[module.room, there.room if "/" in there.room else there.group] += there.group != "root"
    return House(dict(rooms), {pair: count for pair, count in arrows.items() if count})


def picture(house: House) -> str:
    """Return the map as SVG; what it shows also stands in ``data-`` attributes, by which `read_picture` knows it."""
    boxes = _boxes(house)
    top = {pair for pair in house.arrows if "/" not in pair[0]}
    drawn = _needed({(a, b) for a, b in top if b not in FOR_ALL or a in FOR_ALL}) | {
        pair for pair in house.arrows if "/" in pair[0] and "/" in pair[1]
    }
    height = max(box.y + box.height for box in boxes.values()) + MARGIN
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" font-family="sans-serif"'
            ' font-size="12">'
        ),
        "<title>The rooms of buildtool by rank, and how many imports lead from one to another</title>",
        (
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9"'
            ' markerUnits="userSpaceOnUse" orient="auto">'
            '<path d="M0,0 L8,4 L0,8 z" fill="#556"/></marker></defs>'
        ),
        f'<rect width="{WIDTH}" height="{height:.0f}" fill="#ffffff"/>',
    ]
    # The room of rooms lies under everything, then arrows, then the other boxes, then the counts.
    parts += _box("adapters", boxes["adapters"], house, drawn) if "adapters" in boxes else []
    curves = dict(_curves(boxes, drawn))
    parts += [_arrow(pair, house.arrows[pair], curves[pair]) for pair in sorted(curves)]
    for name in sorted(boxes.keys() - {"adapters"}):
        parts += _box(name, boxes[name], house, drawn)
    parts += [_count(house.arrows[pair], curves[pair]) for pair in sorted(curves)]
    parts += [
        f"<metadata>{escape(' '.join(f'{a}>{b}={n}' for (a, b), n in sorted(house.arrows.items())))}</metadata>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def read_picture(text: str) -> House:
    """Return what a picture shows."""
    top = ET.fromstring(text)  # noqa: S314 - our own file
    rooms = {
        box.attrib["data-room"]: (int(box.attrib["data-modules"]), int(box.attrib["data-lines"]))
        for box in top.iter()
        if "data-room" in box.attrib
    }
    words = next(element.text or "" for element in top.iter() if element.tag.endswith("metadata")).split()
    arrows = {}
    for word in words:
        pair, _, count = word.partition("=")
        source, _, target = pair.partition(">")
        arrows[source, target] = int(count)
    return House(rooms, arrows)


def stale(shown: House, real: House) -> Iterator[str]:
    """Yield what is wrong with a picture: other rooms, other arrows, or figures that are a tenth off."""
    yield from (
        f"the room {name} is only {_side(name in real.rooms)}" for name in shown.rooms.keys() ^ real.rooms.keys()
    )
    for pair in shown.arrows.keys() ^ real.arrows.keys():
        yield f"the arrow {' -> '.join(pair)} is only {_side(pair in real.arrows)}"
    for name in shown.rooms.keys() & real.rooms.keys():
        if any(abs(a - b) > NEAR * b + 2 for a, b in zip(shown.rooms[name], real.rooms[name], strict=True)):
            yield f"the room {name} has {real.rooms[name]} modules and lines, not {shown.rooms[name]}"


def _side(in_code: bool) -> str:
    return "in the code" if in_code else "in the picture"


def _needed(arrows: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the arrows that no chain of others implies; there are no cycles."""
    after: dict[str, set[str]] = defaultdict(set)
    for source, target in arrows:
        after[source].add(target)

    def reached(start: str) -> set[str]:
        return {name for step in after[start] for name in {step} | reached(step)}

    return {(a, b) for a, b in arrows if not any(b in reached(step) for step in after[a] - {b})}


def _boxes(house: House) -> dict[str, Box]:
    """Return where each room stands: the higher its rank, the higher it stands."""
    inner = [name for name in house.rooms if name.startswith("adapters/")]
    boxes: dict[str, Box] = {}
    y: float = MARGIN
    for rank in sorted({*RANKS.values(), LAUNCHERS[1]}, reverse=True):
        band = _ordered(name for name in house.rooms if RANKS.get(name, LAUNCHERS[1]) == rank and name not in inner)
        wide = [name for name in band if name == "adapters" and inner]
        plain = [name for name in band if name not in wide]
        if wide:
            y = _band_of_adapters(boxes, plain, inner, house, y)
            continue
        step = (WIDTH - 2 * MARGIN) / max(len(plain), 1)
        for place, name in enumerate(plain):
            boxes[name] = Box(MARGIN + step * (place + 0.5) - BOX / 2, y, BOX, HIGH)
        y += (HIGH + GAP) * bool(plain)
    return boxes


def _band_of_adapters(boxes: dict[str, Box], plain: list[str], inner: list[str], house: House, y: float) -> float:
    """Place the rooms of the shells two by two, and beside them adapters/ with the rooms in it; return what is next."""
    rows = _rows(inner, house)
    left = 2 * (BOX + MARGIN)
    height = len(rows) * (HIGH + GAP) + MARGIN
    boxes["adapters"] = Box(MARGIN + left, y, WIDTH - 2 * MARGIN - left, height)
    for number, name in enumerate(plain):
        row, column = divmod(number, 2)
        top = y + height * (0.5 if len(plain) <= 2 else 0.2 + 0.6 * row / ((len(plain) - 1) // 2)) - HIGH / 2
        boxes[name] = Box(MARGIN + column * (BOX + MARGIN), top, BOX, HIGH)
    for number, row_names in enumerate(rows):
        step = boxes["adapters"].width / len(row_names)
        for place, name in enumerate(row_names):
            x = MARGIN + left + step * (place + 0.5) - NARROW / 2
            boxes[name] = Box(x, y + GAP * 0.6 + number * (HIGH + GAP), NARROW, HIGH)
    return y + height + GAP


def _rows(inner: list[str], house: House) -> list[list[str]]:
    """Return the rooms in adapters/ so that each stands above what it imports."""
    below = {name: {b for a, b in house.arrows if a == name and b in inner} for name in inner}

    def depth(name: str) -> int:
        return 1 + max((depth(other) for other in below[name]), default=-1)

    depths = {name: depth(name) for name in inner}
    return [_ordered(n for n in inner if depths[n] == level) for level in sorted(set(depths.values()), reverse=True)]


def _ordered(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


Curve = tuple[float, float, float, float]


def _curves(boxes: Mapping[str, Box], drawn: set[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], Curve]]:
    """Yield from where to where each arrow leads; those of one box are spread along its edge."""
    leaving, coming = defaultdict(list), defaultdict(list)
    for source, target in drawn:
        leaving[source].append(target)
        coming[target].append(source)

    def spread(name: str, other: str, others: list[str]) -> float:
        box, ranked = boxes[name], sorted(others, key=lambda one: boxes[one].x + boxes[one].width / 2)
        return box.x + box.width * (ranked.index(other) + 1) / (len(ranked) + 1)

    for source, target in drawn:
        x1, x2 = spread(source, target, leaving[source]), spread(target, source, coming[target])
        yield (source, target), (x1, boxes[source].y + boxes[source].height, x2, boxes[target].y)


def _arrow(pair: tuple[str, str], count: int, curve: Curve) -> str:
    (x1, y1), (x2, y2), (x3, y3), (x4, y4) = _bezier(curve)
    return (
        f'<path d="M{x1:.0f},{y1:.0f} C{x2:.0f},{y2:.0f} {x3:.0f},{y3:.0f} {x4:.0f},{y4:.0f}" fill="none"'
        f' stroke="#556" stroke-width="{1 + min(count, 60) / 20:.1f}" opacity="0.7" marker-end="url(#tip)">'
        f"<title>{escape(pair[0])} imports {escape(pair[1])}: {count}</title></path>"
    )


def _bezier(curve: Curve) -> tuple[tuple[float, float], ...]:
    """Return the four points of a curve that leaves and comes straight down."""
    x1, y1, x2, y2 = curve
    bend = max(24.0, (y2 - y1) / 2)
    return (x1, y1), (x1, y1 + bend), (x2, y2 - bend), (x2, y2)


def _count(count: int, curve: Curve) -> str:
    """Return the figure of an arrow, which stands a little below where it leaves: there is no box."""
    points = _bezier(curve)
    for step in range(1, 100):
        t = step / 100
        share = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
        x, y = (sum(w * point[axis] for w, point in zip(share, points, strict=True)) for axis in (0, 1))
        if y >= curve[1] + GAP * 0.45:
            break
    return (
        f'<rect x="{x - 10:.0f}" y="{y - 8:.0f}" width="20" height="15" rx="4" fill="#ffffff" opacity="0.8"/>'
        f'<text x="{x:.0f}" y="{y + 4:.0f}" text-anchor="middle" fill="#334" font-size="11">{count}</text>'
    )


def _box(name: str, box: Box, house: House, drawn: set[tuple[str, str]]) -> list[str]:
    modules, lines = house.rooms[name]
    outer = name == "adapters"
    fill = "#f4f1e8" if outer else "#e8f0e4" if name in {"model", "scheduling"} else "#e6edf7"
    x = box.x + (12 if outer else box.width / 2)
    anchor = "start" if outer else "middle"
    rest = _ordered(b for a, b in house.arrows if a == name and (a, b) not in drawn)
    also = " ".join(f"{one.removeprefix('adapters/')}\u2009{house.arrows[name, one]}" for one in rest)
    texts = textwrap.wrap(also, LETTERS)
    shown = name.removeprefix("adapters/")
    place = f'x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" height="{box.height:.0f}"'
    text = f'<text x="{x:.0f}" text-anchor="{anchor}"'
    return [
        f'<g data-room={quoteattr(name)} data-modules="{modules}" data-lines="{lines}">',
        f'<rect {place} rx="6" fill="{fill}" stroke="#99a"/>',
        f'{text} y="{box.y + 17:.0f}" font-weight="bold" font-size="13">{shown}</text>',
        f'{text} y="{box.y + 31:.0f}" fill="#445" font-size="11">{modules} modules, {lines:,} lines</text>',
        *(
            f'{text} y="{box.y + 44 + 11 * number:.0f}" fill="#778" font-size="9">{escape(line)}</text>'
            for number, line in enumerate(texts)
        ),
        "</g>",
    ]


def main(root: Path) -> None:
    """Write the picture of the checkout at `root`, unless the one that is there still shows it."""
    house, path = survey(root), root / PICTURE
    try:
        wrong = list(stale(read_picture(path.read_text("utf-8")), house))
    except (OSError, ET.ParseError, StopIteration) as error:
        wrong = [f"there is no picture: {error}"]
    if wrong:
        path.write_text(picture(house), "utf-8")
    print("\n".join([*wrong, f"{PICTURE} shows the code{' as it was: nothing but figures differs' * (not wrong)}"]))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2])
