import numpy as np
import pytest
import torch

from mobcg import forcematching
from mobcg.errors import InputError
from mobcg.forcematch import dynamics
from mobcg.forcematch.dynamics import simulate, steps_per_second
from mobcg.forcematch.molecules import whole_molecules
from mobcg.observables import block_mean, radial_distribution
from mobcg.pair import R_EDGES_NM, R_NM
from mobcg.units import BAR_PER_KJ_MOL_NM3, thermal_energy_kj_mol
from tests.forcematch.boxes import TEMPERATURE_K, dimers, lattice
from tests.forcematch.fields import SoftSpheres, Well

KT = thermal_energy_kj_mol(TEMPERATURE_K)
SHORT = {"temperature_k": TEMPERATURE_K, "ensemble": "nvt", "equilibration_ps": 0.5, "production_ps": 0.6, "seed": 5}
AT_PRESSURE = {"ensemble": "npt", "pressure_bar": 2000.0}


def run(box, field=None, **changes):
    return simulate(field or SoftSpheres(), *box, **(SHORT | changes))


def same_bits(one, other):
    np.testing.assert_array_equal(one.trajectory.positions_nm, other.trajectory.positions_nm)
    names = "temperatures_k potential_kj_mol conserved_kj_mol pressures_bar smallest_nm volumes_nm3 times_ps"
    for name in names.split():
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not():
    first, again, other = run(lattice()), run(lattice()), run(lattice(), seed=6)
    same_bits(first, again)
    assert np.abs(first.trajectory.positions_nm - other.trajectory.positions_nm).max() > 0.01


def test_lengths_and_intervals():
    found = run(lattice(), equilibration_ps=1.0, production_ps=2.0, time_step_fs=10.0)
    assert found.trajectory.frame_ps == pytest.approx(0.72 * 0.78**0.5, abs=0.005)
    assert dynamics.FRAME_PS_100 == forcematching.FRAME_PS_100  # which planning counts with
    assert (len(found.trajectory.positions_nm) - 1) * found.trajectory.frame_ps == pytest.approx(2.0, abs=0.65)
    np.testing.assert_allclose(np.diff(found.times_ps), 0.1)
    assert found.times_ps[0] == 0
    assert found.failure is None
    assert found.steps_per_core_s > 0
    assert found.core_s > 0


def test_the_field_is_left_as_it_is():
    field = SoftSpheres().train()
    run(lattice(), field)
    assert field.epsilon_kj_mol.requires_grad
    assert field.training


@pytest.mark.parametrize("ensemble", [{"ensemble": "nvt"}, {"ensemble": "nve"}, AT_PRESSURE])
def test_an_interrupted_run_goes_on_bit_by_bit(ensemble, tmp_path, monkeypatch):
    """Stopped in the equilibration and again in the production."""
    monkeypatch.setattr(dynamics, "CHECKPOINT_INTERVAL_S", 0.0)
    monkeypatch.setattr(dynamics, "PROGRESS_INTERVAL_S", 0.0)
    checkpoint, steps, lines = tmp_path / "run.npz", [], []
    whole = run(dimers(), **ensemble, time_step_fs=5.0, say=steps.append)

    def stop_at(count):
        def say(line):
            lines.append(line)
            if len(lines) == count:
                raise KeyboardInterrupt

        return say

    for count in (len(steps) // 4, 3 * len(steps) // 4):
        with pytest.raises(KeyboardInterrupt):
            run(dimers(), **ensemble, time_step_fs=5.0, checkpoint=checkpoint, say=stop_at(count))
    resumed = run(dimers(), **ensemble, time_step_fs=5.0, checkpoint=checkpoint, say=lines.append)
    assert len(lines) == len(steps)  # none twice: it went on, and did not begin again
    same_bits(whole, resumed)


@pytest.mark.parametrize("change", [{"seed": 6}, {"temperature_k": 310.0}, {"field": SoftSpheres(11.0)}])
def test_a_checkpoint_of_another_run_is_not_gone_on_from(change, tmp_path, monkeypatch):
    monkeypatch.setattr(dynamics, "CHECKPOINT_INTERVAL_S", 0.0)
    checkpoint = tmp_path / "run.npz"
    run(lattice(), checkpoint=checkpoint)
    same_bits(run(lattice(), **change), run(lattice(), checkpoint=checkpoint, **change))


def test_a_torn_checkpoint_is_not_gone_on_from(tmp_path):
    checkpoint = tmp_path / "run.npz"
    checkpoint.write_bytes(b"PK\x03\x04 torn")
    same_bits(run(lattice()), run(lattice(), checkpoint=checkpoint))


def test_it_says_how_far_it_is(monkeypatch):
    monkeypatch.setattr(dynamics, "PROGRESS_INTERVAL_S", 0.0)
    lines = []
    run(lattice(), say=lines.append)
    assert "of 1.3 ps" in lines[0]
    assert "0:00:0" in lines[-1]
    assert lines[-1].endswith("left")


def test_constant_energy_is_at_the_temperature_asked_for():
    found = run(lattice(), ensemble="nve", equilibration_ps=10, production_ps=10)
    assert np.ptp(found.conserved_kj_mol) / 60 / KT < 1e-3
    assert found.temperatures_k.mean() == pytest.approx(TEMPERATURE_K, rel=0.04)


def test_molecules_stay_whole_and_their_centres_are_followed():
    found = run(dimers(), production_ps=5.0)
    bonds = np.diff(found.trajectory.positions_nm.reshape(-1, 30, 2, 3), axis=2)
    assert np.linalg.norm(bonds, axis=-1).max() < 0.4
    centres = found.centres
    assert centres.positions_nm.shape[1:] == (30, 3)
    assert centres.mass_g_mol == 80
    assert np.abs(np.diff(centres.positions_nm, axis=0)).max() < found.trajectory.box_length_nm / 2
    assert found.n_molecules == 30
    assert found.time_step_fs == pytest.approx(12 * (20 / 100) ** 0.5)


def test_the_pressure_is_that_of_the_virial_of_g():
    """P = ρ kT − (2π/3) ρ² ∫ U'(r) g(r) r³ dr for pairs, U = ε (1 − r/r_c)²."""
    beads, positions, edge = lattice(200, 6.0)
    found = run((beads, positions, edge), equilibration_ps=3, production_ps=20)
    g = radial_distribution(found.trajectory.positions_nm, edge).rdf * (1 - 1 / 200)
    slope = -2 * 10 / 0.7 * np.clip(1 - R_NM / 0.7, 0, None)
    density = 200 / edge**3
    integral = (slope * g * R_NM * np.diff(R_EDGES_NM**3) / 3).sum()
    expected = (density * KT - 2 * np.pi / 3 * density**2 * integral) * BAR_PER_KJ_MOL_NM3
    pressure, error = found.pressure_bar
    assert pressure == pytest.approx(expected, abs=4 * error + 0.003 * expected)


@pytest.mark.parametrize("box", [lattice(100, 6.0), dimers()], ids=["beads", "dimers"])
def test_at_its_own_pressure_a_liquid_keeps_its_volume(box):
    beads, positions, edge = box
    lengths = {"equilibration_ps": 3, "production_ps": 30}
    there = run(box, **lengths)
    pressure, _ = there.pressure_bar
    start = positions * 1.04, edge * 1.04  # an eighth too large
    if len(beads.bonds):
        start = whole_molecules(positions, beads, edge), edge * 1.04
    found = run((beads, *start), ensemble="npt", pressure_bar=pressure, **lengths)
    mean, mean_error = block_mean(found.volumes_nm3[len(found.volumes_nm3) // 3 :])
    assert found.volumes_nm3[0] == pytest.approx(1.04**3 * edge**3)
    assert mean == pytest.approx(edge**3, abs=4 * mean_error + 0.02 * edge**3)
    assert found.temperatures_k.mean() == pytest.approx(TEMPERATURE_K, rel=0.04)


@pytest.mark.parametrize(
    ("field", "pressure", "reason"),
    [
        (None, -3000.0, "evaporates: the volume is 2."),
        (Well(0.05, 0.95), 1e5, "collapses: the box shrank to twice the"),
        (Well(0.05), 1e5, "collapses: the volume is 0."),
    ],
)
def test_a_volume_that_runs_away_ends_the_run(field, pressure, reason):
    found = run(lattice(), field, ensemble="npt", pressure_bar=pressure, production_ps=60)
    assert reason in found.failure
    assert "in the production" in found.failure


def test_steps_are_counted():
    assert 10 < steps_per_second(SoftSpheres(), *lattice(), seconds=0.2) < 1e5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_step_fs": 300.0}, "moved by"),
        ({"field": SoftSpheres(-1e5)}, "kT per bead from that of the start"),
        ({"field": SoftSpheres(float("nan"))}, "moved by nan"),
    ],
)
def test_a_run_that_blows_up_is_a_result(change, message):
    found = run(lattice(), equilibration_ps=20, **change)
    assert message in found.failure
    assert "equilibration" in found.failure
    assert len(found.trajectory.positions_nm) == 0


def test_a_run_that_stays_hot_is_a_result():
    """Overlaps of the start turn into heat, which takes the thermostat more than a hundred steps."""
    beads, positions, edge = lattice()
    found = run((beads, positions * 0.5, edge), field=SoftSpheres(60.0), time_step_fs=2.0)
    assert "above 600 K for 100 steps" in found.failure


def test_a_failure_in_the_production_keeps_what_was_before(monkeypatch):
    class Late(SoftSpheres):
        def __init__(self):
            super().__init__()
            self.left = torch.nn.Parameter(torch.tensor(150.0))

        def forward(self, neighbours):
            self.left.data -= 1
            return super().forward(neighbours) * (1.0 if self.left > 0 else torch.nan)

    found = run(lattice(), Late(), time_step_fs=10.0, equilibration_ps=0.6, production_ps=10)
    assert "production" in found.failure
    assert len(found.times_ps) > 5
    assert np.isfinite(found.trajectory.positions_nm).all()


def test_a_box_that_is_too_small_is_refused():
    beads, positions, _ = lattice()
    with pytest.raises(InputError, match="half the box"):
        run((beads, positions, 1.3))


def test_an_unknown_ensemble_and_no_production_are_refused():
    with pytest.raises(ValueError, match="none of"):
        run(lattice(), ensemble="muvt")
    with pytest.raises(ValueError, match="pressure None"):
        run(lattice(), ensemble="npt")
    with pytest.raises(ValueError, match="no run"):
        run(lattice(), production_ps=0)
