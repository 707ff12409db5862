"""Forces of a known mean and known noise; and a small real liquid, whose centres of mass are held."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from scipy.signal import lfilter

from mobcg.atomistic.beads import read_beads
from mobcg.atomistic.force_field import molecule_files
from mobcg.atomistic.gromacs import (
    Machine,
    Progress,
    UnstableError,
    format_mdp,
    minimisation_options,
    minimise,
    run_stage,
)
from mobcg.atomistic.simulate import fill_box, planned_stages, write_molecule
from mobcg.errors import InputError, SimulationError
from mobcg.forcematch.frames import decorrelation_ps, force_autocorrelation, statistical_inefficiency
from mobcg.forcematch.noise_floor import (
    finished_directory,
    hold,
    main,
    mean_force_share,
    net_forces,
    springs_on,
    summary,
)
from mobcg.observables import BeadTrajectory
from mobcg.programs import ProgramError
from mobcg.spec import run_id
from tests.atomistic.conftest import SMALL


def correlated(shape: tuple[int, ...], decay: float, seed: int) -> np.ndarray:
    """Return noise of unit variance whose correlation is decay^t, from its stationary state on."""
    drawn = np.random.default_rng(seed).standard_normal(shape)
    drawn[1:] *= np.sqrt(1 - decay**2)
    return lfilter([1.0], [1.0, -decay], drawn, axis=0)


def forces(share: float, n_frames: int, decay: float, seed: int, n_beads: int = 300) -> np.ndarray:
    """Return forces of unit variance, of which `share` is a constant mean on each bead."""
    mean = np.random.default_rng(seed + 1000).standard_normal((n_beads, 3))
    return np.sqrt(share) * mean + np.sqrt(1 - share) * correlated((n_frames, n_beads, 3), decay, seed)


@pytest.mark.parametrize("share", [0.0, 0.18, 0.7])
def test_the_share_of_the_mean_is_found_through_correlated_noise(share):
    found = [mean_force_share([forces(share, 300, 0.8, seed), forces(share, 300, 0.8, seed + 1)]) for seed in (0, 10)]
    for floor in found:
        assert floor.r2 == pytest.approx(share, abs=4 * floor.r2_se)
        assert 0.001 < floor.r2_se < 0.03
        # The noise of the mean over 300 frames of which 33 are independent.
        assert floor.uncorrected - floor.r2 == pytest.approx((1 - share) * 9 / 300, rel=0.35)


def test_the_standard_error_of_the_share_is_its_scatter():
    found = [mean_force_share([forces(0.2, 120, 0.6, seed, n_beads=100)]) for seed in range(60)]
    scatter = np.std([floor.r2 for floor in found], ddof=1)
    assert np.mean([floor.r2_se for floor in found]) == pytest.approx(scatter, rel=0.25)
    assert np.mean([floor.r2 for floor in found]) == pytest.approx(0.2, abs=4 * scatter / 60**0.5)


def test_configurations_that_differ_widen_the_error():
    shares = [0.15, 0.35, 0.2, 0.3]
    found = mean_force_share([forces(share, 300, 0.8, seed) for seed, share in enumerate(shares)])
    assert found.r2 == pytest.approx(0.25, abs=0.02)
    assert found.r2_se == pytest.approx(np.std(shares, ddof=1) / 2, rel=0.25)


def test_too_few_frames_are_refused():
    with pytest.raises(InputError, match=r"frames: found 23; allowed: 24 and more"):
        mean_force_share([forces(0.2, 23, 0.5, 1)])


def test_correlation_and_its_time_of_correlated_noise():
    decay = 0.8
    correlation = force_autocorrelation(correlated((2000, 400, 3), decay, 3))
    np.testing.assert_allclose(correlation[:10], decay ** np.arange(10), atol=0.01)
    trajectory = BeadTrajectory(np.zeros((2000, 400, 3)), 3.5, 0.5, 78.0, 300.0, correlated((2000, 400, 3), decay, 4))
    assert decorrelation_ps(trajectory) == pytest.approx(0.5 * (1 + decay) / (1 - decay), rel=0.05)


def test_the_end_of_a_series_is_not_before_its_beginning():
    # Drifting forces: around the corner, the correlation at the last lag would be near that at the first.
    drift = np.linspace(-1, 1, 12)[:, None, None] * np.ones((1, 2, 3))
    direct = [np.mean(drift[: 12 - lag] * drift[lag:]) for lag in range(12)]
    np.testing.assert_allclose(force_autocorrelation(drift), np.array(direct) / direct[0], atol=1e-12)


def test_noise_that_is_over_within_a_frame_is_decorrelated_after_one():
    trajectory = BeadTrajectory(np.zeros((500, 400, 3)), 3.5, 1.0, 78.0, 300.0, correlated((500, 400, 3), 0.0, 5))
    assert decorrelation_ps(trajectory) == pytest.approx(1.0, abs=0.05)
    with pytest.raises(InputError, match="keep_trajectories"):
        decorrelation_ps(BeadTrajectory(np.zeros((5, 4, 3)), 3.5, 1.0, 78.0, 300.0))


def test_an_inefficiency_ends_where_the_correlation_does():
    assert statistical_inefficiency([1.0, 0.5, -0.1, 0.9]) == pytest.approx(1 + 2 * 0.75 * 0.5)
    assert statistical_inefficiency([1.0, 1.0, 1.0, 1.0]) == pytest.approx(4)


def test_where_beads_are_held_forces_are_those_on_molecules():
    of_beads = np.arange(2 * 6 * 3, dtype=float).reshape(2, 6, 3)
    np.testing.assert_allclose(net_forces(of_beads, 3)[1, 1], of_beads[1, 3:].sum(axis=0))
    np.testing.assert_allclose(net_forces(of_beads, 1), of_beads)


def test_the_summary_tells_the_noise_apart_from_the_mean():
    found = summary([forces(0.2, 600, 0.8, 6)])
    assert found["r2_floor"] == pytest.approx(0.2, abs=4 * found["r2_floor_se"])
    assert found["correlation"][-1] == pytest.approx(0.2, abs=0.03)
    assert found["noise_decorrelation_ps"] == pytest.approx(0.1 * 9, rel=0.25)
    json.dumps(found, allow_nan=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The work directory of a run that ended, but for the lengths of its stages: the small liquid after its squeeze."""
    run = tmp_path_factory.mktemp("run")
    directory = run / "step_2_fs"
    directory.mkdir()
    files = molecule_files(SMALL)
    write_molecule(directory, files, SMALL["n_molecules"])
    relaxed = minimise(directory, fill_box(directory, SMALL, files), "minimised", Machine())
    squeezed = run_stage(directory, planned_stages(SMALL, 2.0)["squeeze"], relaxed, Machine(), Progress("test"))
    for name in ("nvt", "nvt_equilibration"):
        shutil.copyfile(squeezed, directory / f"{name}.gro")
    return run


def test_springs_are_on_the_beads_of_each_molecule(finished):
    masses = molecule_files(SMALL).masses_g_mol
    groups = [[0, 1, 6, 7], [2, 3, 4, 5, 8, 9, 10, 11]]
    springs, edge_nm = springs_on(finished / "step_2_fs/nvt.gro", masses, groups)
    assert len(springs.atoms) == 2 * 64
    assert list(springs.atoms[3]) == [12 + atom for atom in groups[1]]
    assert springs.spring_kj_mol_nm2[1] / springs.spring_kj_mol_nm2[0] == pytest.approx(2)
    # ω² m, ω = 2π / 0.1 ps.
    assert springs.spring_kj_mol_nm2[0] == pytest.approx(26.038 * (20 * np.pi) ** 2, rel=1e-3)
    assert edge_nm == float((finished / "step_2_fs/nvt.gro").read_text().split()[-1])
    atoms = re.findall(r"\[ (\w+) \]\n((?:\d+\n)+)", springs.index())
    assert [name for name, _ in atoms][-1] == "System"
    assert atoms[-1][1].split() == [str(number) for number in range(1, 64 * 12 + 1)]


def test_a_run_that_is_not_finished_is_told_without_a_traceback(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    options = ["--run", str(tmp_path / "run"), "--work", str(tmp_path / "work"), "--out", str(tmp_path / "floor.json")]
    assert main(["--spec", json.dumps(SMALL), *options]) == 2
    assert "Run it first" in capsys.readouterr().err


def floor_of(run, directory) -> dict:
    """Return the floor that the command writes for the work directory of a run."""
    options = ["--run", str(run), "--work", str(directory / "work"), "--out", str(directory / "floor.json")]
    assert main(["--spec", json.dumps(SMALL), *options]) == 0
    return json.loads((directory / "floor.json").read_text())


def test_a_run_that_failed_has_a_floor_that_says_so(tmp_path):
    run = tmp_path / "run"
    (run / "step_2_fs").mkdir(parents=True)
    (run / "step_2_fs/nvt.gro").write_text("too hot")
    (run / "step_2_fs/failed").write_text("nvt: the mean temperature was 340.0 K")
    (run / "spec.json").write_text("{}")
    found = floor_of(run, tmp_path)
    assert found["failed"] == "the atomistic run failed; its record says why"
    assert (found["run_id"], found["held_ps"]) == (run_id(SMALL), 25.0)
    metadata = {"status": "failed", "reason": "unstable with time steps down to 2 fs"}
    BeadTrajectory(np.zeros((0, 64, 3)), np.nan, 1.0, 78.1, 298.15, metadata=metadata).save(run / "beads.npz")
    assert floor_of(run, tmp_path)["failed"] == "the atomistic run failed: unstable with time steps down to 2 fs"


def test_a_good_run_whose_configurations_are_gone_did_not_fail(tmp_path):
    metadata = {"status": "ok", "reason": None}
    BeadTrajectory(np.zeros((2, 64, 3)), 3.2, 1.0, 78.1, 298.15, metadata=metadata).save(tmp_path / "beads.npz")
    (tmp_path / "spec.json").write_text("{}")
    with pytest.raises(InputError, match="Run it first"):
        finished_directory(tmp_path)


def test_a_time_step_that_failed_is_not_begun_from(tmp_path):
    for name in ("step_0.5_fs", "step_1_fs", "step_2_fs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "nvt.gro").touch()
    for name in ("step_0.5_fs", "step_2_fs"):
        (tmp_path / name / "failed").touch()
    assert finished_directory(tmp_path).name == "step_1_fs"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UnstableError("free_0: Too many LINCS warnings"), "free_0: Too many LINCS warnings"),
        (SimulationError("the held centres of mass strayed"), "the held centres of mass strayed"),
    ],
)
def test_a_floor_that_fails_is_a_result(error, reason, tmp_path, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr("mobcg.forcematch.noise_floor.hold", fail)
    assert floor_of(tmp_path / "run", tmp_path)["failed"] == reason


def test_a_program_that_fails_makes_no_floor(tmp_path, monkeypatch):
    def fail(*_):
        raise ProgramError(["gmx"], -9, tmp_path / "log")

    monkeypatch.setattr("mobcg.forcematch.noise_floor.hold", fail)
    with pytest.raises(ProgramError):
        floor_of(tmp_path / "run", tmp_path)
    assert not (tmp_path / "floor.json").exists()


@pytest.mark.workflow
def test_held_beads_leave_less_of_the_net_force_open_than_a_held_centre(finished, tmp_path):
    """They say how a molecule is turned, too."""
    (tmp_path / "centres").mkdir()
    (tmp_path / "beads").mkdir()
    mapping = [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]
    centres = hold(SMALL, finished, tmp_path / "centres", Machine(), held_ps=5.0)
    beads = hold(SMALL | {"mapping": mapping}, finished, tmp_path / "beads", Machine(), held_ps=5.0)
    assert beads["beads_per_molecule"] == 3
    assert beads["force_rms_kj_mol_nm"] == pytest.approx(centres["force_rms_kj_mol_nm"], rel=0.1)
    assert beads["r2_floor"] > 2 * centres["r2_floor"]


@pytest.mark.workflow
def test_held_centres_stay_and_the_forces_are_those_without_springs(finished, tmp_path):
    found = hold(SMALL, finished, tmp_path, Machine(), held_ps=5.0)
    assert found["configurations"] == 6
    assert found["displacement_rms_nm"] == pytest.approx((2.48 / (78.1 * (20 * np.pi) ** 2)) ** 0.5, rel=0.2)
    assert 0 < found["r2_floor"] < found["r2_floor_uncorrected"] < 1
    (tmp_path / "free.mdp").write_text(
        format_mdp({**minimisation_options(), "integrator": "md", "nstxout": 1, "nstfout": 1})
    )
    # GROMACS' own forces of the same frames, of a topology without springs.
    for command in (
        "grompp -f free.mdp -c nvt.gro -p system.top -o free.tpr -po free.mdout",
        "mdrun -deffnm free -rerun held_nvt.trr -ntmpi 1 -ntomp 1 -pin off",
    ):
        subprocess.run(["gmx", "-quiet", *command.split()], cwd=tmp_path, check=True, capture_output=True)
    masses = molecule_files(SMALL).masses_g_mol
    springs, edge_nm = springs_on(tmp_path / "nvt.gro", masses, [list(range(12))])
    held, free = (read_beads(tmp_path / f"{name}.trr", masses, edge_nm) for name in ("held_nvt", "free"))
    there = held.positions_nm - springs.centres_nm
    there -= edge_nm * np.round(there / edge_nm)
    clean = held.forces_kj_mol_nm + springs.spring_kj_mol_nm2[:, None] * there
    assert free.forces_kj_mol_nm.std() > 50
    np.testing.assert_allclose(clean, free.forces_kj_mol_nm, atol=2)
    assert found["force_rms_kj_mol_nm"] == pytest.approx(free.forces_kj_mol_nm[51:].std(), rel=0.1)
