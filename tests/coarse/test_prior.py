import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mobcg import plan
from mobcg.coarse.integral_equation import solve
from mobcg.coarse.prior import draw_liquid, fault, is_drawn_from, is_liquid, propose
from mobcg.coarse.prior_shard import potential_row, run_prior_shard
from mobcg.config import Prior
from mobcg.pair import R_NM, force, tabulate
from mobcg.records import read_rows
from mobcg.spec import run_id
from mobcg.units import thermal_energy_kj_mol
from tests.coarse.cases import TEMPERATURE_K, lennard_jones

KT = thermal_energy_kj_mol(TEMPERATURE_K)
PRIOR = json.loads(Prior().model_dump_json())
# One of these is run with friction too.
SHARD = {
    "kind": "prior_shard",
    "first": 2,
    "count": 3,
    "temperature_k": TEMPERATURE_K,
    "ranges": PRIOR["ranges"],
    "screen": PRIOR["screen"],
    "sampling": {
        **{key: PRIOR[key] for key in ("mass_g_mol", "friction_1_ps_100")},
        "friction_share": 0.5,
        "n_beads": 220,
        "equilibration_ps_100": 10.0,
        "production_ps_100": 150.0,
    },
}


def spec(draw: int, **changes: object) -> dict:
    return next(iter(plan.prior_potentials({**SHARD, "first": draw, "count": 1}).values())) | changes


@pytest.fixture(scope="module")
def liquids() -> list[tuple[dict, float, np.ndarray]]:
    return [(spec(draw), *draw_liquid(spec(draw))) for draw in range(60)]


def test_a_draw_is_the_same_whenever_it_is_drawn(liquids):
    density_nm3, potential = draw_liquid(spec(17))
    assert density_nm3 == liquids[17][1]
    np.testing.assert_array_equal(potential, liquids[17][2])
    assert len({density for _, density, _ in liquids}) == len(liquids)


def test_potentials_can_be_run(liquids):
    """A wall of at least 10 kT, no energy at the cutoff, and a density in the range."""
    low, high = PRIOR["ranges"]["number_density_nm3"]
    for _, density_nm3, potential in liquids:
        assert low <= density_nm3 <= high
        energy = tabulate(potential)[1] / KT
        assert np.isfinite(energy).all()
        assert energy[0] > 10
        assert np.all(np.diff(energy[energy > 12]) < 0)
        assert energy[-1] == pytest.approx(0, abs=1e-12)
        # Smooth on the scale of a bin: the change of the force over one is small beside that of the wall.
        assert np.abs(np.diff(force(potential), 2)[40:]).max() < np.abs(force(potential)).max()


def test_liquids_pass_the_screen_and_differ(liquids):
    peaks = []
    for of, density_nm3, potential in liquids:
        structure = solve(potential / KT, density_nm3)
        assert PRIOR["screen"]["rdf_peak"][0] <= structure.rdf.max() <= PRIOR["screen"]["rdf_peak"][1]
        assert 0 < structure.structure_factor[0] <= PRIOR["screen"]["structure_factor_zero_max"]
        assert structure.structure_factor.max() <= PRIOR["screen"]["structure_factor_peak_max"]
        assert is_liquid(potential, density_nm3, of)
        peaks.append(structure.rdf.max())
    # First peaks of molecular liquids are 1.5 to 3.
    assert np.percentile(peaks, 20) < 1.7
    assert np.percentile(peaks, 90) > 2.4


def test_what_is_no_liquid_is_screened_out():
    reduced = {"gas": (2.0, 0.1), "two phases": (0.8, 0.4), "crystal": (0.7, 1.0), "liquid": (0.9, 0.8)}
    found = {
        name: is_liquid(lennard_jones(KT / temperature, 0.5), density / 0.5**3, spec(0))
        for name, (temperature, density) in reduced.items()
    }
    assert found == {"gas": False, "two phases": False, "crystal": False, "liquid": True}


def test_proposals_have_walls_of_all_kinds_wells_and_tails():
    """Stiffness at contact, depth of the minimum and size of what is beyond 1 nm, each over a wide range."""
    proposals = [propose(spec(draw), 0)[1] / KT for draw in range(300)]
    stiffness, depth, beyond = [], [], []
    for energy in proposals:
        contact = np.flatnonzero(energy > 1)[-1]
        stiffness.append(force(energy)[contact] * R_NM[contact])
        depth.append(-energy.min())
        beyond.append(np.abs(energy[100:]).max())
    for values, low, high in ((stiffness, 8, 20), (depth, 0.4, 1.8), (beyond, 0.08, 0.3)):
        first, last = np.percentile(values, [10, 90])
        assert first < low < high < last


def test_the_tail_is_a_gaussian_process_of_its_own_strength():
    """Without well and bumps nothing else is left beyond the wall."""
    bare = {"bumps": [0, 0], "well_depth_kt": [0.0, 0.0], "shoulder_kt": [0.5, 0.5], "wall_exponent": [20.0, 24.0]}
    strengths = (0.1, 0.3)
    found = []
    for strength in strengths:
        ranges = {**PRIOR["ranges"], **bare, "tail_kt": [strength, strength]}
        tails = [propose(spec(draw, ranges=ranges), 0)[1][100:140] / KT for draw in range(200)]
        found.append(np.std(tails))
        assert abs(np.mean(tails)) < 0.25 * strength
    assert found == pytest.approx(strengths, rel=0.15)


def test_the_first_random_number_is_the_density_and_others_leave_it():
    few = {**PRIOR["ranges"], "bumps": [0, 0], "well_depth_kt": [0.0, 0.1]}
    assert propose(spec(3), 5)[0] != propose(spec(3), 6)[0]
    assert is_drawn_from(spec(3), *propose(spec(3), 5))
    assert not is_drawn_from(spec(3, ranges=few), *propose(spec(3), 5))


def test_a_released_curve_is_recognised(liquids):
    of, density_nm3, potential = liquids[3]
    assert is_drawn_from(of, density_nm3, potential)
    assert not is_drawn_from(of, density_nm3, 1.001 * potential)
    assert not is_drawn_from(of, 1.001 * density_nm3, potential)
    assert not is_drawn_from(spec(4), density_nm3, potential)
    with pytest.raises(ValueError, match="bumps"):
        is_drawn_from({**of, "ranges": {**of["ranges"], "bumps": [0, 1000]}}, density_nm3, potential)


def test_a_screen_that_nothing_passes_makes_failed_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("mobcg.coarse.prior.MAX_PROPOSALS", 3)
    monkeypatch.setenv("PATH", str(tmp_path))  # nothing is run
    shard = SHARD | {"screen": SHARD["screen"] | {"rdf_peak": [90.0, 91.0]}}
    potentials, rows = run_prior_shard(shard, tmp_path)
    assert {row["status"] for row in potentials} == {"failed"}
    assert len(rows) == len(plan.expand_shard(shard))
    assert all("its potential failed: none of" in row["reason"] for row in rows)


def finished_row(reduced_diffusion: float, tail: float) -> tuple[dict, dict]:
    of = {"mass_g_mol": 100.0, "temperature_k": TEMPERATURE_K, "thermostat": "nose_hoover"}
    diffusion_nm2_ns = reduced_diffusion * np.sqrt(KT / 100) * 5.0 ** (-1 / 3) * 1000
    return of, {"rdf": np.full(150, tail), "number_density_nm3": 5.0, "diffusion_nm2_ns": diffusion_nm2_ns}


def test_a_run_that_froze_or_came_apart_is_not_kept():
    assert fault(*finished_row(0.03, 1.0)) is None
    assert fault(*finished_row(0.008, 1.0)) == "froze: D* is 0.0080"
    assert fault(*finished_row(0.03, 1.08)) == "came apart: g(r) is 1.080 at large r"
    of, row = finished_row(0.008, 1.0)
    assert fault({**of, "thermostat": "langevin"}, row) is None


def test_the_row_of_a_potential_recomputes_to_its_id():
    ((name, of),) = plan.prior_potentials({**SHARD, "first": 7, "count": 1}).items()
    row = potential_row(name, of)
    assert run_id(row["spec"]) == row["potential_id"] == name
    assert (row["origin"], row["molecule_id"], row["status"]) == ("prior", None, "ok")
    np.testing.assert_allclose(row["force_kj_mol_nm"], force(row["potential_kj_mol"]))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("prior")
    run_shard(directory)
    return directory


def run_shard(directory: Path) -> str:
    paths = {"work": "work", "potentials": "potentials.parquet", "coarse": "coarse.parquet"}
    options = [word for name, path in paths.items() for word in (f"--{name}", str(directory / path))]
    command = [sys.executable, "-m", "mobcg.coarse.prior_shard", "--spec", json.dumps(SHARD), *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_liquids_of_the_prior_are_liquids(finished):
    """Real runs: no crystal, no phase separation, and the structure that the screen foresaw."""
    potentials = {row["potential_id"]: row for row in read_rows(finished / "potentials.parquet")}
    rows = read_rows(finished / "coarse.parquet")
    assert sorted(row["run_id"] for row in rows) == sorted(map(run_id, plan.expand_shard(SHARD)))
    assert {row["potential_id"] for row in rows} == set(potentials)
    for row in rows:
        assert (row["status"], row["reason"], row["molecule_id"]) == ("ok", None, None)
        potential = potentials[row["potential_id"]]
        assert row["number_density_nm3"] == potential["number_density_nm3"]
        foreseen = solve(np.array(potential["potential_kj_mol"]) / KT, row["number_density_nm3"]).rdf
        assert np.abs(foreseen - row["rdf"])[10:].sum() / np.sum(row["rdf"][10:]) < 0.15
        assert max(row["rdf"]) == pytest.approx(foreseen.max(), rel=0.2)


def test_a_share_of_the_liquids_is_run_with_either_friction(finished):
    runs: dict[str, dict[str, float]] = {}
    for row in read_rows(finished / "coarse.parquet"):
        runs.setdefault(row["potential_id"], {})[row["thermostat"]] = row["diffusion_nm2_ns"] * row["mass_g_mol"] ** 0.5
    kinds = sorted(map(sorted, runs.values()))
    assert ["nose_hoover"] in kinds
    assert ["dpd", "langevin", "nose_hoover"] in kinds
    for found in runs.values():
        assert all(found[kind] < found["nose_hoover"] for kind in found if kind != "nose_hoover")


def test_a_second_start_runs_nothing_and_writes_the_same(finished):
    names = ("potentials.parquet", "coarse.parquet")
    before = [(finished / name).read_bytes() for name in names]
    assert "records are there already" in run_shard(finished)
    assert [(finished / name).read_bytes() for name in names] == before
