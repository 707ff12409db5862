import re
import subprocess
import sys

import pyarrow.parquet as pq

from mobcg.database.card import card, main


def test_card_is_what_the_command_prints_again(release):
    command = [sys.executable, "-m", "mobcg.database.card", str(release)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == (release / "README.md").read_text(encoding="utf-8")


def test_counts_and_means_are_those_of_the_tables(release):
    text = card(release)
    coarse = pq.read_table(release / "data/coarse.parquet", columns=["status"])["status"].to_pylist()
    row = next(line for line in text.splitlines() if line.startswith("| `data/coarse.parquet`"))
    assert row.endswith(f"| {len(coarse)} | {coarse.count('failed')} |")
    runs = pq.read_table(release / "data/atomistic.parquet", filters=[("molecule_id", "==", "benzene")]).to_pylist()
    mean = sum(run["diffusion_nm2_ns"] for run in runs) / len(runs)
    benzene = next(line for line in text.splitlines() if line.startswith("| benzene |"))
    assert f"| {mean:.3f} ±" in benzene


def test_a_changed_table_changes_the_card(editable):
    rows = editable.rows("coarse")
    editable.write("coarse", rows[:-1])
    assert card(editable.path) != (editable.path / "README.md").read_text()


def test_metastable_neopentane_is_said_only_where_it_is(release, editable):
    assert "metastable" in card(release)
    editable.write("molecules", [row for row in editable.rows("molecules") if row["molecule_id"] != "neopentane"])
    assert "metastable" not in card(editable.path)


def test_origins_of_the_coarse_runs_are_counted(release):
    potentials = pq.read_table(release / "data/potentials.parquet").to_pylist()
    origin = {row["potential_id"]: row["origin"] for row in potentials}
    runs = [row for row in pq.read_table(release / "data/coarse.parquet").to_pylist() if row["status"] == "ok"]
    text = card(release)
    for name in ("ibi", "scaled", "perturbed", "prior"):
        own = [row for row in runs if origin[row["potential_id"]] == name]
        counts = [sum(row["thermostat"] == kind for row in own) for kind in ("nose_hoover", "langevin", "dpd")]
        expected = [name, len({row["potential_id"] for row in own}), *counts]
        assert "| " + " | ".join(map(str, expected)) + " | " in text


def test_the_prior_is_described_with_its_own_limits_where_there_is_one(release, editable):
    assert "| ranges | number_density_nm3 | 3 to 8 |" in card(release)
    editable.write("potentials", [row for row in editable.rows("potentials") if row["origin"] != "prior"])
    potentials = {row["potential_id"] for row in editable.rows("potentials")}
    editable.write("coarse", [row for row in editable.rows("coarse") if row["potential_id"] in potentials])
    assert "The prior" not in card(editable.path)


def test_what_friction_keeps_is_told_by_model_where_the_release_says(release, editable):
    rows = editable.rows("evaluation")
    models = {row["model"] for row in rows}
    editable.write(
        "evaluation",
        [row | {"neighbour_correlation": 0.08 if row["model"] == "ibi_langevin" else 0.16} for row in rows],
    )
    text = card(editable.path)
    assert re.search(r"^\| atomistic \| \d+ \| 0\.170", text, re.MULTILINE)
    for model in models:
        expected = "0.080" if model == "ibi_langevin" else "0.160"
        assert re.search(rf"^\| {model} \| \d+ \| {expected}", text, re.MULTILINE), model
    editable.write("evaluation", [row | {"neighbour_correlation": None} for row in rows])
    assert "What friction keeps" not in card(editable.path)


def test_no_placeholder_is_left(release):
    assert not re.findall(r"\$\w+", card(release))


def test_directory_that_is_no_release_is_refused(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "release directory" in capsys.readouterr().err
