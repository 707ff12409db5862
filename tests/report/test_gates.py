"""Each gate holds on a release that has what is asked, and falls when that is taken away."""

import math
from pathlib import Path

import pytest

from mobcg.report.gates import Gate, gates, main, markdown
from mobcg.report.liquids import mean_of
from mobcg.report.peers import Peer, read_peers, read_published_liquids
from tests.report.conftest import read_back

PEERS = [Peer("benzene", "ibi", 3.4, 0.014, 445.0), Peer("ethylbenzene", "ibi", 10.7, 0.016, 1124.0)]


def found(directory: Path, tables: dict, subject: str, asked: str, n_bytes: int = 1, peers=PEERS) -> Gate:
    (gate,) = [
        g for g in gates(read_back(directory, **tables), n_bytes, peers) if g.subject == subject and asked in g.asked
    ]
    return gate


@pytest.mark.parametrize(
    ("asked", "column", "worse"),
    [
        ("box of", "box_length_nm", 3.39),
        ("1000 ps", "production_ps", 900.0),
        ("settled", "density_settled", False),
        ("relative SE of D", "diffusion_nm2_ns_se", 1.0),
        ("first peak", "rdf_se", [0.05] * 150),
        ("kg/m³", "density_kg_m3", 700.0),
        ("D of replicas", "diffusion_nm2_ns", 3.0),
    ],
)
def test_a_liquid_must_be_well_sampled(tmp_path, tables, asked: str, column: str, worse: object) -> None:
    assert found(tmp_path / "good", tables, "benzene", asked).holds
    row = next(row for row in tables["atomistic"] if row["molecule_id"] == "benzene")
    row[column] = worse
    assert not found(tmp_path / "bad", tables, "benzene", asked).holds


def test_a_reference_that_nobody_verified_says_so(tmp_path, tables) -> None:
    assert found(tmp_path / "known", tables, "benzene", "kg/m³").asked == "within 5% of 873.5 kg/m³"
    tables["molecules"][0]["reference_density_source"] = "approximate, unverified; source wanted"
    assert found(tmp_path / "guess", tables, "benzene", "kg/m³").asked == "within 5% of 873.5 kg/m³ (unverified)"


def test_the_error_of_alpha_keeps_that_of_the_atomistic_liquid(tmp_path, tables) -> None:
    for row in tables["evaluation"]:
        diffusion = row["diffusion_nm2_ns"]
        row |= {"alpha": 3.0, "alpha_se": 0.3, "diffusion_nm2_ns_se": 1e-6 * diffusion}
    # three replicas do not make it smaller
    assert found(tmp_path, tables, "benzene", "α of IBI").found == "3.00 ± 0.30"


def test_one_replica_is_not_enough_and_none_is_said_to_be_missing(tmp_path, tables) -> None:
    runs = [row for row in tables["atomistic"] if row["molecule_id"] == "benzene"]
    tables["atomistic"].remove(runs[0])
    assert not found(tmp_path / "one", tables, "benzene", "2 replicas").holds
    tables["atomistic"].remove(runs[1])
    assert found(tmp_path / "none", tables, "benzene", "2 replicas").found == "no atomistic run"


def test_the_distance_of_replicas_is_counted_in_errors_of_their_difference(tmp_path, tables) -> None:
    first, second = (row for row in tables["atomistic"] if row["molecule_id"] == "benzene")
    first |= {"diffusion_nm2_ns": 1.8, "diffusion_nm2_ns_se": 0.03}
    second |= {"diffusion_nm2_ns": 2.0, "diffusion_nm2_ns_se": 0.04}
    gate = found(tmp_path, tables, "benzene", "D of replicas")
    assert gate.found == "4.0 SE"
    assert not gate.holds


def test_synthetic_liquids_must_be_many_and_reach_the_slowest_liquid(tmp_path, tables) -> None:
    assert not found(tmp_path / "few", tables, "synthetic", "covers").holds
    slow, fast, *_ = [row for row in tables["atomistic"] if '"synthetic"' in row["spec"]]
    slow["diffusion_nm2_ns"], fast["diffusion_nm2_ns"] = 0.1, 9.0
    assert found(tmp_path / "enough", tables, "synthetic", "covers").holds


def test_every_atomistic_liquid_needs_its_potential(tmp_path, tables) -> None:
    assert found(tmp_path / "all", tables, "inversion", "pressure-corrected").holds
    assert found(tmp_path / "all", tables, "inversion", "uncorrected").holds
    kept = [row for row in tables["potentials"] if row["molecule_id"] != "benzene"]
    tables["potentials"] = kept
    assert not found(tmp_path / "fewer", tables, "inversion", "pressure-corrected").holds
    assert not found(tmp_path / "fewer", tables, "inversion", "uncorrected").holds


def test_coarse_records_of_each_kind_are_counted(tmp_path, tables) -> None:
    assert not found(tmp_path / "few", tables, "coarse", "3000 records").holds
    assert found(tmp_path / "few", tables, "coarse", "langevin").holds
    assert not found(tmp_path / "few", tables, "coarse", "perturbed").holds
    assert not found(tmp_path / "few", tables, "coarse", "prior").holds
    assert found(tmp_path / "few", tables, "coarse", "median relative SE").holds
    tables["coarse"] = [row for row in tables["coarse"] if row["thermostat"] != "langevin"]
    for row in tables["coarse"]:
        row["diffusion_nm2_ns_se"] = 0.05 * row["diffusion_nm2_ns"]
    assert not found(tmp_path / "fewer", tables, "coarse", "langevin").holds
    assert not found(tmp_path / "fewer", tables, "coarse", "median relative SE").holds


def test_alpha_of_ibi_is_set_beside_that_of_the_published_targets(tmp_path, tables) -> None:
    alpha, _ = mean_of(
        [r for r in tables["evaluation"] if (r["molecule_id"], r["model"]) == ("benzene", "ibi")], "alpha"
    )
    near, far, lower = ([Peer("benzene", "ibi", alpha * factor, 0.01, None)] for factor in (1.29, 3.0, 0.6))
    assert found(tmp_path / "near", tables, "benzene", "α of IBI", peers=near).holds
    assert not found(tmp_path / "far", tables, "benzene", "α of IBI", peers=far).holds
    # The atomistic liquid is faster than the published one, which makes α smaller: no explanation of a larger one.
    gate = found(tmp_path / "lower", tables, "benzene", "α of IBI", peers=lower)
    assert not gate.holds
    diffusion, _ = mean_of([r for r in tables["atomistic"] if r["molecule_id"] == "benzene"], "diffusion_nm2_ns")
    assert f"D_AA {diffusion / 1.12:.2f} times" in gate.found


def test_alpha_that_differs_as_the_atomistic_liquids_do_is_explained(tmp_path, tables) -> None:
    runs = [row for row in tables["atomistic"] if row["molecule_id"] == "benzene"]
    diffusion, _ = mean_of(runs, "diffusion_nm2_ns")
    rows = [r for r in tables["evaluation"] if (r["molecule_id"], r["model"]) == ("benzene", "ibi")]
    alpha, _ = mean_of(rows, "alpha")
    same_coarse_liquid = [Peer("benzene", "ibi", alpha * diffusion / 1.12, 0.01, None)]
    gate = found(tmp_path, tables, "benzene", "α of IBI", peers=same_coarse_liquid)
    assert gate.holds
    assert gate.found.endswith("D of IBI 1.00 times theirs")


def test_the_published_liquids_are_the_eight() -> None:
    assert read_published_liquids().keys() == {peer.molecule_id for peer in read_peers()}


def test_a_large_release_is_refused(tmp_path, tables) -> None:
    assert found(tmp_path / "small", tables, "release", "MB", 40 * 10**6).holds
    assert not found(tmp_path / "large", tables, "release", "MB", 40 * 10**6 + 1).holds


def test_the_command_prints_the_gates_and_fails_with_them(release_dir, capsys) -> None:
    assert main(["--release", str(release_dir)]) == 1
    printed = capsys.readouterr().out
    assert "| coarse | 3000 records of molecules |" in printed
    assert markdown([Gate("a", "b", "c", True)]).splitlines()[-1] == "| a | b | c | yes |"
    assert main(["--release", str(release_dir / "nowhere")]) == 2


def test_peers_are_the_eight_liquids_with_every_model() -> None:
    peers = read_peers()
    models = {peer.model for peer in peers}
    assert len(peers) == 8 * len(models)
    published = [peer.alpha for peer in peers if peer.model == "published"]
    assert math.exp(sum(map(math.log, published)) / 8) == pytest.approx(3.08, abs=0.005)


def test_a_larger_box_checks_the_finite_size_correction_and_is_no_replica(tmp_path, tables) -> None:
    assert found(tmp_path / "none", tables, "finite size", "corrected D").found == "no run in a larger box"
    replicas = [row for row in tables["atomistic"] if row["molecule_id"] == "benzene"]
    corrected, _ = mean_of(replicas, "diffusion_yh_nm2_ns")
    larger = replicas[0] | {"run_id": "0" * 16, "box_length_nm": 4.6, "diffusion_yh_nm2_ns": corrected}
    larger |= {"diffusion_nm2_ns": 5.0, "density_kg_m3": 700.0}
    tables["atomistic"].append(larger)
    assert found(tmp_path / "same", tables, "benzene", "corrected D").holds
    assert found(tmp_path / "same", tables, "benzene", "2 replicas").found == "2"
    assert found(tmp_path / "same", tables, "inversion", "pressure-corrected").holds
    assert found(tmp_path / "same", tables, "benzene", "kg/m³").holds
    larger |= {"n_molecules": 600}
    potentials, tables["potentials"] = tables["potentials"], []
    assert found(tmp_path / "without", tables, "benzene", "2 replicas").found == "2"
    tables["potentials"] = potentials
    larger["diffusion_yh_nm2_ns"] = 1.3 * corrected
    assert not found(tmp_path / "other", tables, "benzene", "corrected D").holds


def test_the_finite_size_correction_widens_the_error_of_d_as_it_does_d(tmp_path, tables) -> None:
    replicas = [row for row in tables["atomistic"] if row["molecule_id"] == "benzene"]
    for row in replicas:
        row |= {"diffusion_nm2_ns": 1.0, "diffusion_nm2_ns_se": 0.1, "diffusion_yh_nm2_ns": 2.0}
    larger = replicas[0] | {"run_id": "0" * 16, "n_molecules": 600, "box_length_nm": 4.6}
    tables["atomistic"].append(larger | {"diffusion_nm2_ns_se": 0.0, "diffusion_yh_nm2_ns": 2.3})
    # 0.3 of 2 × 0.1/sqrt(2)
    assert found(tmp_path, tables, "benzene", "corrected D").found.startswith("2.1 SE")
