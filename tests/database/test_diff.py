import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mobcg.database.diff import diff, diff_text, main, mean_scores
from mobcg.errors import InputError


def test_nothing_differs_from_itself(release):
    differences = diff(release, release)
    for table in differences["tables"].values():
        assert table["rows_old"] == table["rows_new"] > 0
        assert not any(table[kind] for kind in ("added", "removed", "values_changed", "values_beyond_error"))
        assert table["columns"] == {"added": [], "removed": [], "altered": []}
    assert differences["scores"]["old"] == differences["scores"]["new"] != {}


def test_first_release_adds_everything(release):
    differences = diff(None, release)
    assert differences["tables"]["coarse"]["added"] == pq.read_metadata(release / "data/coarse.parquet").num_rows
    assert differences["molecules"]["added"] == ["benzene", "ethylbenzene", "neopentane"]
    assert "first release" in diff_text(differences)


def test_change_within_and_beyond_the_error_are_told_apart(editable, release):
    rows = editable.rows("coarse")
    ok = [number for number, row in enumerate(rows) if row["status"] == "ok"]
    near, far = ok[0], ok[1]
    rows[near]["diffusion_nm2_ns"] += 2 * rows[near]["diffusion_nm2_ns_se"]
    rows[far]["diffusion_nm2_ns"] += 10 * rows[far]["diffusion_nm2_ns_se"]
    rows[ok[2]]["rdf"][80] += 0.25
    editable.write("coarse", rows)
    table = diff(release, editable.path)["tables"]["coarse"]
    assert (table["values_within_error"], table["values_beyond_error"], table["values_changed"]) == (1, 1, 1)
    beyond, curve = sorted(table["changes"], key=lambda change: change["kind"])
    assert (beyond["id"], beyond["column"]) == (rows[far]["run_id"], "diffusion_nm2_ns")
    assert curve["largest_difference"] == pytest.approx(0.25)
    assert "beyond error" in diff_text(diff(release, editable.path))


def test_added_removed_and_failed_rows_are_named(editable, release):
    rows = editable.rows("coarse")
    ok = next(number for number, row in enumerate(rows) if row["status"] == "ok")
    gone = rows.pop(0 if ok else 1)
    rows.append(gone | {"run_id": "f" * 16})
    editable.write("coarse", rows)
    table = diff(release, editable.path)["tables"]["coarse"]
    assert table["removed_ids"] == [gone["run_id"]]
    assert table["added_ids"] == ["f" * 16]


def test_columns_and_units_are_compared(editable, release):
    rows = pq.read_table(editable.table("molecules"))
    number = rows.schema.get_field_index("molar_mass_g_mol")
    field = rows.schema.field(number)
    kilo = rows.set_column(number, field.with_metadata({**field.metadata, b"unit": b"kg/mol"}), rows.column(number))
    pq.write_table(kilo.drop_columns(["formula"]).append_column("colour", rows["name"]), editable.table("molecules"))
    columns = diff(release, editable.path)["tables"]["molecules"]["columns"]
    assert columns == {"added": ["colour"], "removed": ["formula"], "altered": ["molar_mass_g_mol"]}


def test_redefined_molecule_is_named(editable, release):
    editable.change("molecules", 0, temperature_k=350.0)
    assert diff(release, editable.path)["molecules"]["redefined"] == ["benzene"]


def test_scores_are_medians_over_molecules(release):
    scores = diff(None, release)["scores"]["new"]
    knob = {"mobcg, knob at 0.7", "mobcg", "mobcg, knob at 1.3"}
    assert set(scores) == {"ibi", "ibi_langevin", "ibi_scaled, times 1.2"} | knob
    assert scores["ibi"]["alpha"] == pytest.approx(4.0, rel=0.01)


def test_the_score_of_replicas_is_that_of_their_means(tmp_path):
    # α on both sides of 1: each row has S = 1 and more, their means S = 0.5
    path = tmp_path / "evaluation.parquet"
    rows = [(0.5, 0.04), (1.5, 0.06)]
    table = {"alpha": [alpha for alpha, _ in rows], "rdf_error": [error for _, error in rows]}
    same = {"molecule_id": "benzene", "model": "ibi_dpd", "scale_factor": 1.0, "status": "ok"}
    pq.write_table(pa.table(table | {name: [value] * 2 for name, value in same.items()}), path)
    assert mean_scores(path)["ibi_dpd"] == {"alpha": [1.0], "rdf_error": [0.05], "score": [pytest.approx(0.5)]}


def test_command_line_prints_text_or_json(editable, release, capsys, tmp_path):
    assert main([str(release), str(editable.path)]) == 0
    assert "unchanged" in capsys.readouterr().out
    command = [sys.executable, "-m", "mobcg.database.diff", str(release), str(editable.path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["tables"]["grid"]["rows_new"] == 150
    assert main([str(tmp_path), str(release)]) == 2


def test_directory_without_tables_is_refused(tmp_path, release):
    with pytest.raises(InputError, match=r"grid\.parquet"):
        diff(tmp_path, release)
