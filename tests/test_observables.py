import json
import math
from pathlib import Path

import freud
import numpy as np
import pytest

from mobcg import observables
from mobcg.errors import InputError
from mobcg.observables import FIT_WINDOW_TAU, BeadTrajectory, MoleculeBeads
from mobcg.pair import R_EDGES_NM, R_NM
from mobcg.units import reduced_time_ps

BOX_NM = 3.2


def gas(n_frames: int, n_beads: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, BOX_NM, (n_frames, n_beads, 3))


def walk(
    diffusion_nm2_ns: float, n_frames: int, n_beads: int, seed: int, mass_g_mol: float = 5.0, frame_ps: float = 1.0
) -> BeadTrajectory:
    """Return beads that walk at random: each coordinate's steps have the variance 2 D Δt."""
    random = np.random.default_rng(seed)
    width_nm = math.sqrt(2 * diffusion_nm2_ns / 1000 * frame_ps)
    steps = random.normal(0, width_nm, (n_frames, n_beads, 3))
    steps[0] = random.uniform(0, BOX_NM, (n_beads, 3))
    return BeadTrajectory(steps.cumsum(axis=0), BOX_NM, frame_ps, mass_g_mol, 298.15)


# g(r)


@pytest.mark.parametrize("n_beads", [2, 5, 40, 300])
def test_an_ideal_gas_of_any_size_has_a_rdf_of_one(n_beads: int) -> None:
    # With N in place of N−1 the box of 2 would have g = 1/2, that of 5 g = 0.8.
    n_frames = {2: 20_000, 5: 4000, 40: 400, 300: 30}[n_beads]
    result = observables.radial_distribution(gas(n_frames, n_beads, 1), BOX_NM)
    wide = R_NM > 0.3
    shells = np.diff(R_EDGES_NM**3)[wide]
    mean = np.average(result.rdf[wide], weights=shells)
    pairs = n_frames * n_beads * (n_beads - 1) / 2 * (4 / 3 * np.pi * shells.sum()) / BOX_NM**3
    assert mean == pytest.approx(1, abs=4 / math.sqrt(pairs))
    assert 4 / math.sqrt(pairs) < 0.06


def test_the_error_of_the_rdf_is_that_of_counting() -> None:
    n_frames, n_beads = 200, 200
    result = observables.radial_distribution(gas(n_frames, n_beads, 2), BOX_NM, n_blocks=10)
    wide = R_NM > 0.3
    pairs = n_frames * n_beads * (n_beads - 1) / 2 * 4 * np.pi * R_NM[wide] ** 2 * 0.01 / BOX_NM**3
    assert np.median(result.rdf_se[wide] * np.sqrt(pairs)) == pytest.approx(1, abs=0.1)
    normal = (result.rdf[wide] - 1) * np.sqrt(pairs)
    assert np.std(normal) == pytest.approx(1, abs=0.2)


def test_two_beads_at_a_known_distance_across_the_boundary() -> None:
    frame = np.array([[0.1, 1.0, 1.0], [BOX_NM - 0.305, 1.0, 1.0]])
    result = observables.radial_distribution(np.repeat(frame[None], 5, axis=0), BOX_NM)
    hit = int(np.flatnonzero(result.rdf)[0])
    assert np.count_nonzero(result.rdf) == 1
    assert R_NM[hit] == pytest.approx(0.405)
    shell = 4 / 3 * np.pi * (R_EDGES_NM[hit + 1] ** 3 - R_EDGES_NM[hit] ** 3)
    assert result.rdf[hit] == pytest.approx(BOX_NM**3 / shell, rel=2e-3)  # N (N−1) / 2 = 1 pair
    assert np.all(result.rdf_se == 0)


@pytest.mark.parametrize("n_beads", [2, 63, 64, 65, 300])
def test_pairs_are_those_that_freud_finds(n_beads: int) -> None:
    frame = gas(1, n_beads, 3)[0] + 10 * BOX_NM * np.random.default_rng(4).integers(-1, 2, (n_beads, 3))
    counts = observables.pair_counts(frame, BOX_NM)
    box = freud.box.Box.cube(BOX_NM)
    reference = freud.density.RDF(bins=R_NM.size, r_max=R_EDGES_NM[-1])
    reference.compute((box, frame % BOX_NM - BOX_NM / 2))
    # freud counts in single precision: a pair near an edge may change bins, two neighbouring sums then make up for it.
    assert np.cumsum(counts) == pytest.approx(np.cumsum(reference.bin_counts) / 2, abs=2)
    assert np.abs(counts - reference.bin_counts / 2).sum() <= 4
    assert counts.sum() > 0 or n_beads == 2


def test_the_rdf_does_not_know_the_image_of_a_bead() -> None:
    positions = gas(10, 100, 3)
    images = np.random.default_rng(4).integers(-3, 4, positions.shape) * BOX_NM
    wrapped = observables.radial_distribution(positions, BOX_NM)
    unwrapped = observables.radial_distribution(positions + images, BOX_NM)
    # A pair within single precision of a bin edge may change its bin.
    difference = (wrapped.rdf - unwrapped.rdf) * R_NM**2
    assert np.abs(difference).sum() < 2e-3 * (wrapped.rdf * R_NM**2).sum()


def test_blocks_of_unequal_length_weigh_by_their_frames() -> None:
    positions = gas(7, 60, 5)
    blocks = observables.radial_distribution(positions, BOX_NM, n_blocks=5).rdf
    whole = observables.radial_distribution(np.tile(positions, (2, 1, 1)), BOX_NM, n_blocks=2).rdf
    assert np.allclose(blocks, whole, rtol=1e-5, atol=1e-5)


def test_pairs_of_one_molecule_are_left_out_of_the_rdf() -> None:
    """An ideal gas of stiff pairs: a peak at their length with, and g = 1 without the pairs of one molecule."""
    random = np.random.default_rng(8)
    centres, away = random.uniform(0, 3.2, (200, 20, 3)), random.standard_normal((200, 20, 3))
    away *= 0.2 / np.linalg.norm(away, axis=2, keepdims=True)
    positions, molecules = np.concatenate([centres + away, centres - away], axis=1), np.tile(np.arange(20), 2)
    with_pairs = observables.radial_distribution(positions, 3.2).rdf
    without = observables.radial_distribution(positions, 3.2, molecules=molecules).rdf
    length = np.abs(R_NM - 0.4).argsort()[:2]
    assert with_pairs[length].max() > 10
    assert without[length].max() < 3
    volumes = R_NM**2 / np.sum(R_NM**2)
    assert without @ volumes == pytest.approx(1, abs=0.025)
    alone = observables.radial_distribution(positions, 3.2, molecules=np.arange(40)).rdf
    np.testing.assert_array_equal(alone, with_pairs)


@pytest.mark.parametrize("box_nm", [2.9, 3.0])
def test_a_box_too_small_for_the_grid(box_nm: float) -> None:
    with pytest.raises(ValueError, match="too small"):
        observables.radial_distribution(gas(5, 10, 1), box_nm)


def test_fewer_frames_than_blocks() -> None:
    with pytest.raises(ValueError, match="4 frames are fewer than 5 blocks"):
        observables.radial_distribution(gas(4, 10, 1), BOX_NM)


# MSD


def test_msd_against_a_double_loop() -> None:
    positions = np.random.default_rng(6).normal(0, 0.3, (25, 7, 3)).cumsum(axis=0) + np.arange(25)[:, None, None]
    still = positions - positions.mean(axis=1, keepdims=True)
    expected = np.zeros(25)
    for lag in range(25):
        steps = [np.sum((still[origin + lag] - still[origin]) ** 2, axis=1).mean() for origin in range(25 - lag)]
        expected[lag] = np.mean(steps)
    assert np.allclose(observables.mean_squared_displacement(positions), expected, rtol=1e-5, atol=1e-6)


def test_drift_is_removed() -> None:
    still = walk(3.0, 60, 20, 7).positions_nm
    drift = np.arange(60)[:, None, None] * np.array([0.5, -0.2, 0.1])
    assert np.allclose(observables.remove_drift(still + drift), observables.remove_drift(still), atol=1e-12)
    expected = observables.mean_squared_displacement(still)
    assert np.allclose(observables.mean_squared_displacement(still + drift), expected, atol=1e-6)
    assert np.abs(observables.remove_drift(still).mean(axis=1)).max() < 1e-13


def test_ballistic_beads_have_a_quadratic_msd() -> None:
    velocities = np.random.default_rng(8).normal(0, 0.1, (50, 3))
    velocities -= velocities.mean(axis=0)
    positions = np.arange(40)[:, None, None] * velocities
    msd = observables.mean_squared_displacement(positions)
    # freud's Fourier transform in single precision: seven digits of the largest displacement.
    assert np.allclose(msd, np.sum(velocities**2, axis=1).mean() * np.arange(40) ** 2, rtol=1e-5, atol=1e-5)


# D


def test_diffusion_of_a_random_walk_and_its_standard_error() -> None:
    expected, n_beads = 5.0, 50
    results = [observables.self_diffusion(walk(expected, 300, n_beads, seed)) for seed in range(150)]
    values = np.array([result.diffusion_nm2_ns for result in results])
    errors = np.array([result.diffusion_nm2_ns_se for result in results])
    # Relative to the centre of mass of N independent walkers each moves by 1 − 1/N less.
    bias = expected * (1 - 1 / n_beads)
    assert values.mean() == pytest.approx(bias, abs=3 * values.std(ddof=1) / math.sqrt(values.size))
    assert values.std(ddof=1) / math.sqrt(values.size) < 0.01 * expected
    outside = np.abs(values - bias) > 3 * errors
    assert outside.sum() <= 5
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(values.std(ddof=1), rel=0.17)


def test_a_drift_of_the_box_does_not_diffuse() -> None:
    still = walk(5.0, 200, 50, 9)
    drifting = BeadTrajectory(still.positions_nm + np.arange(200)[:, None, None] * 0.3, BOX_NM, 1.0, 5.0, 298.15)
    a, b = observables.self_diffusion(still), observables.self_diffusion(drifting)
    assert b.diffusion_nm2_ns == pytest.approx(a.diffusion_nm2_ns, rel=1e-4)
    assert b.diffusion_nm2_ns_se == pytest.approx(a.diffusion_nm2_ns_se, rel=1e-9)


def test_an_offset_of_the_msd_does_not_reach_d() -> None:
    # White noise on every position adds 6 s² to the MSD of each lag but 0 and leaves the slope.
    quiet = walk(5.0, 2000, 200, 10)
    noise = np.random.default_rng(11).normal(0, 0.05, quiet.positions_nm.shape)
    noisy = BeadTrajectory(quiet.positions_nm + noise, BOX_NM, 1.0, 5.0, 298.15)
    result = observables.self_diffusion(noisy)
    assert result.diffusion_nm2_ns == pytest.approx(5.0, abs=4 * result.diffusion_nm2_ns_se)
    assert result.diffusion_nm2_ns == pytest.approx(5.0, rel=0.03)


def test_d_does_not_depend_on_the_time_between_frames() -> None:
    fine = walk(5.0, 4000, 100, 12)
    coarse = BeadTrajectory(fine.positions_nm[::2], BOX_NM, 2.0, 5.0, 298.15)
    a, b = observables.self_diffusion(fine), observables.self_diffusion(coarse)
    assert a.diffusion_nm2_ns == pytest.approx(b.diffusion_nm2_ns, abs=4 * a.diffusion_nm2_ns_se)
    assert a.diffusion_nm2_ns == pytest.approx(5.0, rel=0.03)


def test_mass_law_is_exact_for_the_same_path_in_reduced_time() -> None:
    # Four times the mass: the same path takes twice the time, and D is half as large, to the last digit.
    light = walk(5.0, 300, 50, 13)
    heavy = BeadTrajectory(light.positions_nm, BOX_NM, 2.0, 20.0, 298.15)
    a, b = observables.self_diffusion(light), observables.self_diffusion(heavy)
    assert b.diffusion_nm2_ns == pytest.approx(a.diffusion_nm2_ns / 2, rel=1e-12)
    assert b.diffusion_nm2_ns_se == pytest.approx(a.diffusion_nm2_ns_se / 2, rel=1e-12)


def test_fit_window_scales_with_the_root_of_the_mass() -> None:
    light = observables.fit_window(0.01, 25.0, 298.15, 5.0)
    heavy = observables.fit_window(0.01, 100.0, 298.15, 5.0)
    assert heavy[0] == pytest.approx(2 * light[0], abs=2)
    assert heavy[-1] == pytest.approx(2 * light[-1], abs=2)
    tau_ps = reduced_time_ps(100.0, 298.15, 5.0)
    assert [heavy[0] * 0.01, heavy[-1] * 0.01] == pytest.approx([edge * tau_ps for edge in FIT_WINDOW_TAU], abs=0.01)
    assert np.all(np.diff(heavy) > 0)


def test_frames_too_far_apart_for_the_window() -> None:
    # Lag 0 in the fit would make the offset of the MSD pass for diffusion.
    with pytest.raises(ValueError, match="too far apart"):
        observables.fit_window(100.0, 100.0, 298.15, 5.0)


def test_a_trajectory_too_short_for_its_window() -> None:
    last = observables.fit_window(1.0, 5.0, 298.15, 20 / BOX_NM**3)[-1]
    assert observables.self_diffusion(walk(5.0, 4 * last, 20, 14)).diffusion_nm2_ns > 0
    with pytest.raises(ValueError, match="too short"):
        observables.self_diffusion(walk(5.0, 4 * last - 1, 20, 14))


def test_yeh_hummer_factor_against_the_formula() -> None:
    # D_∞ = D + ξ kT / (6π η L) with η = α kT ρ^(1/3) / D_∞, solved for D_∞ step by step.
    n_beads, d0, rho = 500, 1.7, 6.3
    length = (n_beads / rho) ** (1 / 3)
    corrected = d0
    for _ in range(200):
        eta_over_kt = 0.146 * rho ** (1 / 3) / corrected
        corrected = d0 + 2.837297 / (6 * np.pi * eta_over_kt * length)
    assert d0 * observables.finite_size_factor(n_beads) == pytest.approx(corrected, rel=1e-12)


def test_the_finite_size_correction_vanishes_in_a_large_box_and_is_reported() -> None:
    assert observables.finite_size_factor(10**12) == pytest.approx(1, abs=2e-4)
    assert observables.finite_size_factor(200) > observables.finite_size_factor(1000) > 1
    result = observables.self_diffusion(walk(5.0, 200, 64, 15))
    factor = observables.finite_size_factor(64)
    assert result.diffusion_yh_nm2_ns == pytest.approx(result.diffusion_nm2_ns * factor, rel=1e-12)


# Neighbours


def test_beads_that_walk_alone_do_not_move_together() -> None:
    value, error = observables.neighbour_correlation(walk(5.0, 600, 100, 21))
    # The drift of the box is removed: what one bead does, the others make up for.
    assert value == pytest.approx(-1 / 99, abs=3 * error)
    assert 0 < error < 0.01


def test_beads_that_walk_in_pairs_have_one_neighbour_of_many_that_follows() -> None:
    single = walk(5.0, 600, 100, 22)
    pairs = np.concatenate([single.positions_nm, single.positions_nm + 0.05], axis=1)
    trajectory = BeadTrajectory(pairs, BOX_NM, single.frame_ps, single.mass_g_mol, single.temperature_k)
    value, error = observables.neighbour_correlation(trajectory)
    others = 198 / BOX_NM**3 * 4 / 3 * np.pi * (1.4 * (BOX_NM**3 / 200) ** (1 / 3)) ** 3
    assert value == pytest.approx(1 / (1 + others), abs=3 * error + 0.01)


def test_neighbours_are_the_same_through_the_faces_of_the_box() -> None:
    trajectory = walk(5.0, 400, 60, 23)
    moved = BeadTrajectory(trajectory.positions_nm + np.array([0, 0, 1.7]), BOX_NM, 1.0, 5.0, 298.15)
    assert observables.neighbour_correlation(moved) == pytest.approx(observables.neighbour_correlation(trajectory))


def test_a_run_too_short_to_move_says_nothing_of_neighbours() -> None:
    assert observables.neighbour_correlation(walk(0.01, 100, 50, 24)) is None


# Scores


def test_rdf_error_and_r2() -> None:
    reference = 1 + 0.5 * np.sin(R_NM * 10)
    assert observables.rdf_error(reference, reference) == 0
    assert observables.rdf_r2(reference, reference) == 1
    inside = R_NM > 0.1
    assert observables.rdf_error(reference + 0.1, reference) == pytest.approx(0.1 / reference[inside].mean())
    assert observables.rdf_r2(np.full(150, reference[inside].mean()), reference) == pytest.approx(0, abs=1e-12)
    inner = reference.copy()
    inner[R_NM < 0.1] = 99.0
    assert observables.rdf_error(inner, reference) == 0


def test_score_weighs_a_factor_of_two_like_an_rdf_error_of_a_tenth() -> None:
    assert observables.score(0.0, 1.0) == 0
    assert observables.score(0.1, 1.0) == pytest.approx(1)
    assert observables.score(0.0, 2.0) == pytest.approx(1)
    assert observables.score(0.0, 0.5) == pytest.approx(1)
    assert observables.score(0.3, 16.0) == pytest.approx(5)


# Blocks


def test_block_error_of_a_correlated_series() -> None:
    # AR(1) with coefficient a: the variance of the mean is s² (1 + a) / (1 − a) / n.
    random, a, n = np.random.default_rng(16), 0.9, 4000
    means, errors = [], []
    for _ in range(60):
        noise = random.normal(size=n + 200)
        series = np.zeros(n + 200)
        for i in range(1, n + 200):
            series[i] = a * series[i - 1] + noise[i]
        mean, error = observables.block_mean(series[200:], n_blocks=10)
        means.append(mean)
        errors.append(error)
    expected = math.sqrt(1 / (1 - a**2) * (1 + a) / (1 - a) / n)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(expected, rel=0.12)
    assert np.std(means, ddof=1) == pytest.approx(expected, rel=0.3)
    # Without blocks the error would come out four times too small.
    assert np.sqrt(np.mean(np.square(errors))) > 3 * math.sqrt(1 / (1 - a**2) / n)


def test_block_mean_of_a_constant_and_of_too_few_values() -> None:
    assert observables.block_mean([3.0] * 10) == (3.0, 0.0)
    with pytest.raises(ValueError, match="4 values are fewer than 5 blocks"):
        observables.block_mean([1.0, 2.0, 3.0, 4.0])


# Files


@pytest.mark.parametrize("with_forces", [True, False])
def test_save_and_load(tmp_path: Path, with_forces: bool) -> None:
    start = walk(5.0, 20, 8, 17)
    forces = np.random.default_rng(18).normal(size=(20, 8, 3)).astype(np.float32) if with_forces else None
    metadata = {"status": "ok", "reason": None, "density_kg_m3": 873.5, "list": [1, 2]}
    given = BeadTrajectory(start.positions_nm, BOX_NM, 1.0, 78.114, 298.15, forces, metadata)
    given.save(tmp_path / "new" / "beads.npz")
    back = BeadTrajectory.load(tmp_path / "new" / "beads.npz")
    assert back.positions_nm.dtype == np.float64
    assert np.allclose(back.positions_nm, given.positions_nm, atol=1e-6)
    assert (back.box_length_nm, back.frame_ps, back.mass_g_mol, back.temperature_k) == (BOX_NM, 1.0, 78.114, 298.15)
    assert back.metadata == metadata
    if with_forces:
        assert np.array_equal(back.forces_kj_mol_nm, forces)
    else:
        assert back.forces_kj_mol_nm is None
    assert back.number_density_nm3 == pytest.approx(8 / BOX_NM**3)


PAIR = MoleculeBeads((30.0, 10.0), (0, 1), ((0, 1),))


def pairs_of_beads(n_frames: int, seed: int) -> BeadTrajectory:
    """Return eight molecules of two beads, 3 : 1 in mass, on both sides of a walking centre."""
    centres = walk(5.0, n_frames, 8, seed).positions_nm
    apart = np.random.default_rng(seed).normal(0, 0.1, (n_frames, 8, 3))
    beads = np.stack([centres + apart, centres - 3 * apart], axis=2).reshape(n_frames, 16, 3)
    forces = np.random.default_rng(seed + 1).normal(size=beads.shape).astype(np.float32)
    return BeadTrajectory(beads, BOX_NM, 1.0, 40.0, 298.15, forces, {"status": "ok"}, PAIR)


def test_molecules_of_several_beads_move_as_their_centres() -> None:
    mapped = pairs_of_beads(30, 31)
    centres = mapped.centres()
    np.testing.assert_allclose(centres.positions_nm, walk(5.0, 30, 8, 31).positions_nm, atol=1e-12)
    np.testing.assert_allclose(
        centres.forces_kj_mol_nm, mapped.forces_kj_mol_nm[:, ::2] + mapped.forces_kj_mol_nm[:, 1::2], atol=1e-6
    )
    assert (mapped.beads_per_molecule, centres.beads_per_molecule) == (2, 1)
    assert centres.number_density_nm3 == pytest.approx(mapped.number_density_nm3 / 2)
    assert centres.centres() is centres


def test_a_failed_run_of_several_beads_has_no_centres() -> None:
    failed = BeadTrajectory(np.zeros((0, 16, 3)), math.nan, 1.0, 40.0, 298.15, molecule=PAIR)
    assert failed.centres().positions_nm.shape == (0, 8, 3)


def test_the_beads_of_a_molecule_are_saved_and_one_bead_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    mapped = pairs_of_beads(5, 32)
    mapped.save(tmp_path / "pairs.npz")
    assert BeadTrajectory.load(tmp_path / "pairs.npz").molecule == PAIR
    mapped.centres().save(tmp_path / "single.npz")
    assert BeadTrajectory.load(tmp_path / "single.npz").molecule is None
    with np.load(tmp_path / "single.npz") as arrays:
        assert "molecule" not in json.loads(str(arrays["header"]))


def test_a_pickle_in_a_trajectory_file_is_not_opened(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "hacked",)

    np.savez(tmp_path / "beads.npz", header=np.array("{}"), positions_nm=np.array([Attack()], dtype=object))
    with pytest.raises(InputError, match="allow_pickle=False"):
        BeadTrajectory.load(tmp_path / "beads.npz")
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("keep", [0, 100, -100])
def test_a_torn_trajectory_is_named_with_what_to_do(tmp_path, keep):
    path = tmp_path / "beads.npz"
    BeadTrajectory(np.zeros((3, 4, 3)), 3.0, 1.0, 100.0, 300.0).save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"beads\.npz.*a whole bead trajectory.*Delete the file"):
        BeadTrajectory.load(path)
