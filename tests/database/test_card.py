import ast
import json
import re
import shutil
import subprocess
import sys
from collections import Counter

import pyarrow.parquet as pq
import pytest

from mobcg.database.build import build_release
from mobcg.database.card import TRAJECTORY_NOTE, card, main
from mobcg.database.descriptor import descriptors
from mobcg.database.validate import validate
from mobcg.observables import FIT_WINDOW_TAU, STOKES_EINSTEIN_ALPHA, YEH_HUMMER_XI, finite_size_factor
from mobcg.plan import canonical_json
from mobcg.schema import TABLES
from tests.database.cases import ROOT


def test_card_is_what_the_command_prints_again(release):
    command = [sys.executable, "-m", "mobcg.database.card", str(release)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == (release / "README.md").read_text(encoding="utf-8")


def test_counts_and_means_are_those_of_the_tables(release):
    text = card(release)
    coarse = pq.read_table(release / "data/coarse.parquet", columns=["status"])["status"].to_pylist()
    row = next(line for line in text.splitlines() if line.startswith("| `data/coarse.parquet`"))
    assert row.endswith(f"| {len(coarse)} | {coarse.count('failed')} | 0 |")
    runs = pq.read_table(release / "data/atomistic.parquet", filters=[("molecule_id", "==", "benzene")]).to_pylist()
    mean = sum(run["diffusion_nm2_ns"] for run in runs) / len(runs)
    benzene = next(line for line in text.splitlines() if line.startswith("| benzene |"))
    assert f"| {mean:.3f} ±" in benzene


def test_the_error_of_a_mean_is_of_scatter_and_own_errors_the_larger(editable):
    rows = editable.rows("atomistic")
    own = [n for n, row in enumerate(rows) if row["molecule_id"] == "benzene"]
    for number, density in zip(own, (860.0, 880.0), strict=True):
        rows[number] |= {"density_kg_m3": density, "density_kg_m3_se": 1.0}
    editable.write("atomistic", rows)
    assert "| 870.0 ± 10.0 |" in card(editable.path)
    for number in own:
        rows[number] |= {"density_kg_m3": 870.0, "density_kg_m3_se": 2.0}
    editable.write("atomistic", rows)
    assert "| 870.0 ± 1.4 |" in card(editable.path)


def test_boxes_of_different_size_are_rows_of_their_own(editable):
    rows = editable.rows("atomistic")
    benzene = [row for row in rows if row["molecule_id"] == "benzene"]
    benzene[0] |= {"n_molecules": 686, "diffusion_nm2_ns": 2.5}
    editable.write("atomistic", rows)
    lines = [line for line in card(editable.path).splitlines() if line.startswith("| benzene | C6H6 |")]
    assert len(benzene) == len(lines) == 2
    for line, row in zip(lines, sorted(benzene, key=lambda row: row["n_molecules"]), strict=True):
        assert f"| {row['n_molecules']} | 1 |" in line
        assert line.endswith(f"| {row['diffusion_nm2_ns']:.3f} ± {row['diffusion_nm2_ns_se']:.3f} |")


def test_another_state_of_a_liquid_is_a_row_of_its_own_without_the_reference_density(editable):
    rows = editable.rows("atomistic")
    run = next(row for row in rows if row["molecule_id"] == "benzene")
    spec = json.loads(run["spec"]) | {"density_kg_m3": 800.0, "temperature_k": 350.0}
    run |= {"temperature_k": 350.0, "spec": canonical_json(spec)}
    editable.write("atomistic", rows)
    (line,) = [line for line in card(editable.path).splitlines() if line.startswith("| benzene |") and "350 K" in line]
    assert "| 350 K, 800 kg/m³ |" in line
    assert "| – |" in line


def test_liquid_without_a_run_is_listed_all_the_same(editable):
    editable.write("atomistic", [row for row in editable.rows("atomistic") if row["molecule_id"] != "benzene"])
    (line,) = [line for line in card(editable.path).splitlines() if line.startswith("| benzene | C6H6 |")]
    assert line.endswith("| test | – | 0 | – | 873.5 | – |")


def test_remarks_on_sound_rows_are_counted_apart_from_failures(editable):
    rows = editable.rows("coarse")
    sound = [row for row in rows if row["status"] == "ok"]
    for row in sound[:3]:
        row["reason"] = "worth knowing"
    editable.write("coarse", rows)
    line = next(line for line in card(editable.path).splitlines() if line.startswith("| `data/coarse.parquet`"))
    assert line.endswith(f"| {len(rows)} | {len(rows) - len(sound)} | 3 |")


def test_window_of_the_fit_and_finite_size_factor_are_those_of_the_code(release):
    text = " ".join(card(release).split())
    assert f"lag times from {FIT_WINDOW_TAU[0]:g} to {FIT_WINDOW_TAU[1]:g} τ, τ = ρ^(−1/3) sqrt(m/kT)" in text
    counts = {row["n_molecules"] for row in pq.read_table(release / "data/atomistic.parquet").to_pylist()}
    assert f"{finite_size_factor(min(counts)):.3f} for N = {min(counts)}" in text
    assert "uncertain by about 20 %" in text
    (column,) = [column for column in TABLES["coarse"].columns if column.name == "diffusion_yh_nm2_ns"]
    assert f"1 / (1 - {YEH_HUMMER_XI} / (6π {STOKES_EINSTEIN_ALPHA} N^(1/3)))" in column.description


def test_offset_of_the_centres_is_the_mean_of_the_table(release, editable):
    assert "temperature asked for" not in card(release)
    rows = editable.rows("atomistic")
    for number, row in enumerate(rows):
        row["temperature_centres_k"] = row["temperature_k"] - 3 - number % 2
    editable.write("atomistic", rows)
    mean = -3 - sum(number % 2 for number in range(len(rows))) / len(rows)
    text = " ".join(card(editable.path).split())
    assert f"at {mean:+.1f} ±" in text
    assert f"below it in {len(rows)} of {len(rows)} runs" in text


def test_scored_models_and_their_files_are_named_only_where_they_are(release, editable):
    assert "scored models" in card(release)
    assert "`models/<model>/`" in card(release)
    editable.write("evaluation", [])
    shutil.rmtree(editable.path / "models")
    text = card(editable.path)
    assert "scored models" not in text
    assert "`models/<model>/`" not in text
    assert "`potentials/<molecule>" not in text
    for content in descriptors(editable.path).values():
        assert "scored models" not in json.dumps(content)


def test_scale_and_roughness_are_said_where_they_are_known(release, inputs, repository, models_dir, tmp_path):
    assert "is rough" not in card(release)
    options = {"models": [models_dir / "mobcg"], "repository": repository, "scale": "tiny", "rough": True}
    made = build_release(inputs.records, inputs.molecules, "2026.11.3-tiny", tmp_path, **options)
    text = (made / "README.md").read_text(encoding="utf-8")
    assert "**What this scale ran itself is rough" in text
    assert "from the scale `tiny`." in text
    command = next(line for line in text.splitlines() if line.startswith("snakemake "))
    assert command.endswith("--config scale=tiny version=2026.11.3")
    assert (ROOT / command.split("--profile ")[1].split()[0] / "config.yaml").is_file()
    package = json.loads((made / "datapackage.json").read_text())
    assert (package["scale"], package["rough"]) == ("tiny", True)
    assert validate(made) == []
    assert card(made) == text
    # What went on from a release needs it again; what is unfinished is no release of its whole scale.
    later = build_release({"evaluation": []}, inputs.molecules, "2026.11.3-tiny", tmp_path, made, **options)
    assert later.name == "2026.11.4-tiny"
    assert "version=2026.11.4 base_release=releases/2026.11.3-tiny\n" in card(later)
    interim = build_release({"evaluation": []}, inputs.molecules, "2026.11.4-interim", tmp_path, made, **options)
    assert "mobcg release interim --scale tiny" in card(interim)
    assert "makes the release again" not in card(interim)


def test_example_runs_and_gives_one_row_a_molecule(release):
    example = card(release).split("```python\n")[1].split("```")[0].replace("DIR", str(release))
    *lines, query = ast.parse(example).body
    names = {}
    exec(compile(ast.Module(lines, []), "card", "exec"), names)
    rows = eval(compile(ast.Expression(query.value), "card", "eval"), names).fetchall()
    potentials = pq.read_table(release / "data/potentials.parquet", filters=[("origin", "==", "ibi")]).to_pylist()
    runs = pq.read_table(release / "data/atomistic.parquet").to_pylist()
    pristine = {row["run_id"] for row in runs if '"pristine"' in row["spec"]}
    chosen = {row["potential_id"] for row in potentials if row["parent_id"] in pristine}
    assert 0 < len(chosen) < len(potentials)
    coarse = pq.read_table(release / "data/coarse.parquet").to_pylist()
    expected = Counter(
        row["molecule_id"]
        for row in coarse
        if (row["status"], row["thermostat"]) == ("ok", "nose_hoover") and row["potential_id"] in chosen
    )
    assert {molecule: count for molecule, _, count in rows} == expected
    assert len(rows) == len(expected) > 1
    # The analytic D goes as m^(-1/2) exactly, so that one mass gives one number but for the noise of the runs.
    molecules = pq.read_table(release / "data/molecules.parquet").to_pylist()
    masses = {row["molecule_id"]: row["molar_mass_g_mol"] for row in molecules}
    for molecule, diffusion, _ in rows:
        assert diffusion == pytest.approx(8 * (100 / masses[molecule]) ** 0.5, rel=0.01)


def test_download_of_trajectories_names_where_from():
    assert "--trajectories --from ADDRESS" in TRAJECTORY_NOTE


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
