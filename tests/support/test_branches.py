"""A room below the floor, or one of which nothing was seen, is refused; others do not make up for it."""

import json
from pathlib import Path

import pytest

from tests.support.branches import FLOOR, PURE, main


@pytest.mark.parametrize(("model", "code"), [(FLOOR, 0), (FLOOR - 1, 1), (None, 1)])
def test_each_room_has_to_reach_the_floor_by_itself(tmp_path: Path, model: int | None, code: int) -> None:
    shares: dict[str, int | None] = {**dict.fromkeys(PURE, 100), "model": model, "adapters": 0}
    files = {
        f"buildtool/{room}/a.py": {"summary": {"covered_branches": share, "num_branches": 100}}
        for room, share in shares.items()
        if share is not None
    }
    report = tmp_path / "branches.json"
    report.write_text(json.dumps({"files": files}))
    assert main(str(report)) == code
