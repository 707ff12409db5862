"""What mobility alone does not tell."""

from __future__ import annotations

from mobcg.report.dynamics import neighbours
from mobcg.report.liquids import liquids_of
from mobcg.report.style import drawing

from .conftest import read_back


def test_each_model_stands_beside_its_atomistic_liquid(tmp_path, tables):
    for row in tables["evaluation"]:
        if row["model"] == "ibi_dpd":
            row["neighbour_correlation"] = 0.085
    liquids = liquids_of(read_back(tmp_path, **tables))
    with drawing():
        exhibit = neighbours(liquids)
    assert exhibit.seen.startswith(f"{len(liquids)} liquids.")
    assert "IBI + DPD 0.50" in exhibit.seen
    assert "IBI 1.00" in exhibit.seen
    shown = {text.get_text() for text in exhibit.figure.legends[0].get_texts()}
    assert {"atomistic", "IBI", "IBI + DPD"} <= shown


def test_a_release_that_does_not_say_is_told_so(tmp_path, tables):
    for row in tables["atomistic"]:
        row["neighbour_correlation"] = None
    with drawing():
        exhibit = neighbours(liquids_of(read_back(tmp_path, **tables)))
    assert exhibit.notes == ("no atomistic liquid has a neighbour_correlation",)
