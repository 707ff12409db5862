"""Every verdict, from the dynamics of a field that earns it."""

import dataclasses

import numpy as np
import pytest

from mobcg.forcematch.dynamics import Run, simulate
from mobcg.forcematch.field import Beads
from mobcg.forcematch.judge import Liquid, Verdict, crowding, energy_drift_kt_ns, judge, reduced_diffusion, unevenness
from mobcg.forcematch.molecules import centres_of_mass, whole_molecules
from mobcg.forcematch.pair_table import PairTable
from mobcg.forcematch.starts import relaxed
from mobcg.observables import BeadTrajectory, self_diffusion
from mobcg.pair import R_NM, taper
from mobcg.units import thermal_energy_kj_mol
from tests.forcematch.boxes import TEMPERATURE_K, dimers, lattice
from tests.forcematch.fields import Lossy, SoftSpheres, Well

KT = thermal_energy_kj_mol(TEMPERATURE_K)
SOFT = Liquid(closest_nm=0.02, unevenness=0.3)


def well(depth_kt: float, minimum_nm: float) -> PairTable:
    x = minimum_nm / np.maximum(R_NM, 0.35)
    return PairTable(taper(depth_kt * KT * (x**12 - 2 * x**6)))


def run(field, box, **changes) -> Run:
    beads, positions, edge = box
    settings = {"temperature_k": TEMPERATURE_K, "ensemble": "nvt", "equilibration_ps": 2, "seed": 1} | changes
    return simulate(field, beads, relaxed(field, beads, positions, edge), edge, **settings)


@pytest.fixture(scope="module")
def sound():
    return run(SoftSpheres(), lattice(), ensemble="nve", equilibration_ps=5, production_ps=8)


def test_stable(sound):
    verdict = judge(sound, SOFT)
    assert verdict.status == "stable"
    assert f"{sound.temperatures_k.mean():.1f} K" in verdict.reason


def test_unstable_where_the_step_is_far_too_long():
    verdict = judge(run(SoftSpheres(), lattice(), time_step_fs=250.0, production_ps=8), SOFT)
    assert verdict.status == "unstable"
    assert "moved by" in verdict.reason


def test_unstable_where_forces_are_not_the_slope_of_the_energy():
    verdict = judge(run(Lossy(), lattice(), production_ps=8), SOFT)
    assert verdict.status == "unstable"
    assert "conserved energy drifts" in verdict.reason


def test_unstable_where_the_temperature_is_another():
    field = SoftSpheres()
    beads, positions, edge = lattice()
    found = simulate(
        field,
        beads,
        positions * 0.8,  # overlaps turn into heat at constant energy
        edge,
        temperature_k=TEMPERATURE_K,
        ensemble="nve",
        equilibration_ps=0,
        production_ps=2,
        seed=1,
    )
    verdict = judge(found, SOFT)
    assert verdict.status == "unstable"
    assert "instead of 300 K" in verdict.reason


def test_collapsed_where_nothing_repels():
    found = run(Well(), lattice(), production_ps=5)
    verdict = judge(found, Liquid(0.35, 0.3))
    assert verdict.status == "collapsed"
    assert "within 0.350 nm" in verdict.reason
    assert "in a cell is" in judge(found, Liquid(0.001, 0.3)).reason  # by its voids, where nothing crowds


def test_collapsed_where_a_droplet_leaves_voids():
    verdict = judge(run(well(3.0, 0.5), lattice(64, 1.9), production_ps=12), Liquid(0.3, 0.3))
    assert verdict.status == "collapsed"
    assert "number of molecules in a cell" in verdict.reason


def crystal(cells: int = 3, number_density_nm3: float = 3.75) -> tuple[Beads, np.ndarray, float]:
    constant = (4 / number_density_nm3) ** (1 / 3)
    corners = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    positions = constant * (corners + basis).reshape(-1, 3)
    return Beads.single(len(positions), 78.0), positions, cells * constant


def test_frozen_where_the_well_is_far_too_strong():
    """The same crystal melts where the well is shallow."""
    verdict = judge(run(well(6.0, 0.72), crystal(), production_ps=8), Liquid(0.4, 0.3))
    assert verdict.status == "frozen"
    assert "stopped growing" in verdict.reason
    assert judge(run(well(0.4, 0.72), crystal(), production_ps=8), Liquid(0.4, 0.3)).status == "stable"


def made_of(positions, edge, beads, frame_ps=0.5) -> Run:
    """Return a run without dynamics: positions as given, the rest at rest."""
    trajectory = BeadTrajectory(positions, edge, frame_ps, 78.0, TEMPERATURE_K)
    times = np.arange(len(positions)) * frame_ps
    still = [np.full(len(times), value) for value in (TEMPERATURE_K, 0.0, 0.0, 1.0, 0.4)]
    volumes = np.full(len(times), trajectory.box_length_nm**3)
    return Run(trajectory, beads, "nvt", 10.0, times, *still, volumes, None, 1.0, 1.0)


def test_an_ideal_gas_is_as_uneven_as_one():
    beads, _, edge = lattice(216)
    gas = made_of(np.random.default_rng(0).uniform(0, edge, (100, 216, 3)), edge, beads)
    assert unevenness(gas.centres.positions_nm, edge) == pytest.approx(1, abs=0.15)
    density = 216 / edge**3
    assert crowding(gas.trajectory.positions_nm, beads, edge, 0.3) == pytest.approx(
        density * 4 / 3 * np.pi * 0.3**3 * 215 / 216, rel=0.05
    )


def test_beads_of_one_molecule_do_not_crowd():
    beads, positions, edge = dimers()
    assert crowding(np.stack([positions] * 3), beads, edge, 0.16) == 0


@pytest.mark.parametrize("offset", [0.0, 0.12, 0.25])
def test_an_empty_slab_is_seen_wherever_it_lies(offset):
    """A sixth of the box is empty; cells that lay still would hide it behind their faces."""
    beads, positions, edge = lattice(216)
    frames = positions + np.random.default_rng(0).normal(0, 0.05, (60, 216, 3))
    whole = Liquid.of(frames, beads, edge)
    parted = frames % edge * [5 / 6, 1, 1] + [offset * edge, 0, 0]
    assert whole.unevenness < 0.3
    assert unevenness(parted, edge) > 3 * whole.unevenness


def test_the_atomistic_liquid_is_looked_at_molecule_by_molecule():
    beads, positions, edge = dimers(120)
    wrapped = np.stack([positions, positions + 0.3]) % edge
    liquid = Liquid.of(wrapped, beads, edge)
    apart = positions[:, None] - positions[None]
    distance = np.linalg.norm(apart - edge * np.round(apart / edge), axis=2)
    distance[beads.molecules[:, None] == beads.molecules] = np.inf
    assert liquid.closest_nm == pytest.approx(distance.min())
    centres = centres_of_mass(np.stack([whole_molecules(frame, beads, edge) for frame in wrapped]), beads)
    assert liquid.unevenness == unevenness(centres, edge)


def test_the_drift_is_the_slope_per_bead():
    beads, positions, edge = lattice()
    still = made_of(np.stack([positions] * 201), edge, beads)
    drifting = dataclasses.replace(still, conserved_kj_mol=60 * KT * still.times_ps * 2e-4)
    assert energy_drift_kt_ns(drifting) == pytest.approx(0.2)
    assert judge(drifting, SOFT).reason == "The conserved energy drifts by +0.2 kT per bead and ns, more than 0.15."
    short = dataclasses.replace(drifting, times_ps=still.times_ps[:21], conserved_kj_mol=drifting.conserved_kj_mol[:21])
    assert "drifts" not in judge(short, SOFT).reason  # too short to tell a drift from scatter


def test_random_walks_diffuse_as_they_should():
    beads, positions, edge = lattice(216)
    steps = np.random.default_rng(0).normal(0, 0.03, (600, 216, 3))
    walk = made_of(positions + np.cumsum(steps, axis=0), edge, beads)
    diffusion = self_diffusion(walk.centres).diffusion_nm2_ns / 1000
    tau_ps = (78.0 / KT) ** 0.5 * (216 / edge**3) ** (-1 / 3)
    expected = diffusion * tau_ps * (216 / edge**3) ** (2 / 3)
    assert reduced_diffusion(walk.centres) == pytest.approx(expected, rel=0.1)
    assert judge(walk, Liquid(0.02, 1.0)).status == "stable"
    short = made_of(walk.trajectory.positions_nm[:12], edge, beads)
    assert reduced_diffusion(short.centres) == pytest.approx(expected, rel=0.25)


def test_a_failure_is_the_reason(sound):
    failed = dataclasses.replace(sound, failure="a bead would have moved by 3 nm in one step")
    assert judge(failed, SOFT) == Verdict("unstable", "It blew up: a bead would have moved by 3 nm in one step.")
