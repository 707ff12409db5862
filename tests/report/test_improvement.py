import json

import pytest

from mobcg.errors import InputError
from mobcg.report.improvement import improvement, main

TOLD = {
    "rounds": [
        {"liquids": n, "validation_error_kt": e, "near_validation_error_kt": e / 2, "left_out_error_kt": 2 * e}
        for n, e in ((100, 0.04), (150, 0.03), (200, 0.029))
    ],
    # The first round was chosen by an earlier start: what it promised is not known any more.
    "choices": [None, {"draws": [1], "error_kt": 0.03, "expected_error_kt": 0.02, "random_error_kt": 0.025}],
}


def test_rounds_and_what_was_promised_are_drawn():
    left, right = improvement(TOLD).axes
    near = next(line for line in left.get_lines() if "nearest" in line.get_label())
    assert near.get_xydata().tolist() == [[100, 0.02], [150, 0.015], [200, 0.0145]]
    assert [patch.get_height() for patch in right.patches] == [0.03, 0.025, 0.02]
    assert [round(tick) for tick in right.get_xticks()] == [2]


def test_the_figure_is_written(tmp_path):
    (tmp_path / "improve.json").write_text(json.dumps(TOLD))
    main(["--rounds", str(tmp_path / "improve.json"), "--out", str(tmp_path / "improve.png")])
    assert (tmp_path / "improve.png").read_bytes().startswith(b"\x89PNG")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.json"):
        main(["--rounds", str(tmp_path / "nothing.json"), "--out", str(tmp_path / "improve.png")])
