"""Structure and dynamics of a one-component bead liquid: one code for atomistic and coarse-grained trajectories.

Distances in nm, times in ps, self-diffusion coefficients in nm²/ns.
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mobcg.errors import InputError
from mobcg.pair import BIN_WIDTH_NM, R_EDGES_NM, R_NM
from mobcg.records import atomic_path
from mobcg.units import NM2_NS_PER_NM2_PS, reduced_time_ps

# The window of lag times in which D is fitted, in units of τ = ρ^(-1/3) sqrt(m/kT): about 9 to 30 ps for a bead of
# 100 g/mol at the density of a molecular liquid. Earlier the motion is not yet diffusive.
FIT_WINDOW_TAU = (2.5, 8.0)
PAIR_ROWS = 64
# The first shell ends at about 1.4 mean distances; half a mean distance is beyond the rattling in it.
NEIGHBOUR_DISTANCE, MOVED_DISTANCE = 1.4, 0.5
CORRELATION_ORIGINS, CORRELATION_BLOCKS = 60, 5
# Yeh and Hummer, J. Phys. Chem. B 108, 15873 (2004): the self term of a periodic cubic lattice of Stokeslets.
YEH_HUMMER_XI = 2.837297
# Stokes-Einstein without a hydrodynamic diameter, eta D = alpha kT rho^(1/3): Costigliola, Heyes, Schroder and Dyre,
# J. Chem. Phys. 150, 021101 (2019), alpha = 0.146 for the dense Lennard-Jones liquid (Zwanzig's bounds 0.132 to 0.181).
STOKES_EINSTEIN_ALPHA = 0.146


@dataclass(frozen=True)
class MoleculeBeads:
    """The beads of one molecule, where there are several.

    Attributes
    ----------
    masses_g_mol
        (beads,).
    kinds
        (beads,): 0, 1, …; beads of one kind are alike.
    bonds
        Pairs of beads, counted from 0, that a chemical bond joins.
    """

    masses_g_mol: tuple[float, ...]
    kinds: tuple[int, ...]
    bonds: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        """Return the number of beads."""
        return len(self.masses_g_mol)

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> MoleculeBeads:
        """Return the beads that a file's header names."""
        bonds = tuple((int(first), int(second)) for first, second in header["bonds"])
        return cls(tuple(map(float, header["masses_g_mol"])), tuple(map(int, header["kinds"])), bonds)


@dataclass(frozen=True)
class BeadTrajectory:
    """A trajectory of beads in a cubic box, and what is known about the run.

    Attributes
    ----------
    positions_nm
        (frames, beads, 3), unwrapped in time; the beads of a molecule are beside each other, in one periodic image.
    box_length_nm
        Edge of the cubic periodic box.
    frame_ps
        Time between two frames.
    mass_g_mol
        Mass of one molecule; of its one bead, as a rule.
    temperature_k
        Temperature of the thermostat.
    forces_kj_mol_nm
        (frames, beads, 3): net force on each bead, where it was kept.
    metadata
        Plain values that travel with the trajectory (`status` and `reason` among them).
    molecule
        The beads of a molecule where there are several; None for one bead a molecule.
    """

    positions_nm: NDArray[np.float64]
    box_length_nm: float
    frame_ps: float
    mass_g_mol: float
    temperature_k: float
    forces_kj_mol_nm: NDArray[np.float32] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    molecule: MoleculeBeads | None = None

    @property
    def number_density_nm3(self) -> float:
        """Beads per nm³."""
        return self.positions_nm.shape[1] / self.box_length_nm**3

    @property
    def beads_per_molecule(self) -> int:
        """Beads in each molecule."""
        return 1 if self.molecule is None else len(self.molecule)

    def centres(self) -> BeadTrajectory:
        """Return the centres of mass of the molecules and the net forces on them: one bead a molecule."""
        if self.molecule is None:
            return self
        n_frames, n_beads, _ = self.positions_nm.shape
        shape = n_frames, n_beads // len(self.molecule), len(self.molecule), 3
        weights = np.array(self.molecule.masses_g_mol)
        positions = np.average(self.positions_nm.reshape(shape), axis=2, weights=weights)
        forces = None if self.forces_kj_mol_nm is None else self.forces_kj_mol_nm.reshape(shape).sum(axis=2)
        return replace(self, positions_nm=positions, forces_kj_mol_nm=forces, molecule=None)

    @property
    def header(self) -> dict[str, Any]:
        """All that is no array, as plain values."""
        header = {
            "box_length_nm": self.box_length_nm,
            "frame_ps": self.frame_ps,
            "mass_g_mol": self.mass_g_mol,
            "temperature_k": self.temperature_k,
            "metadata": self.metadata,
        }
        if self.molecule is not None:
            header["molecule"] = asdict(self.molecule)
        return header

    @classmethod
    def from_header(
        cls, header: Mapping[str, Any], positions_nm: NDArray, forces_kj_mol_nm: NDArray | None
    ) -> BeadTrajectory:
        """Return the trajectory whose `header` this is."""
        fields = dict(header)
        if "molecule" in fields:
            fields["molecule"] = MoleculeBeads.from_header(fields["molecule"])
        return cls(np.asarray(positions_nm, np.float64), forces_kj_mol_nm=forces_kj_mol_nm, **fields)

    def save(self, path: Path) -> None:
        """Write an .npz file, atomically; positions and forces in single precision."""
        arrays = {"positions_nm": np.asarray(self.positions_nm, np.float32)}
        if self.forces_kj_mol_nm is not None:
            arrays["forces_kj_mol_nm"] = np.asarray(self.forces_kj_mol_nm, np.float32)
        header = np.array(json.dumps(self.header, sort_keys=True))
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, header=header, **arrays)

    @classmethod
    def load(cls, path: Path) -> BeadTrajectory:
        """Read what `save` wrote; nothing in the file is executed.

        Raises
        ------
        InputError
            The file is not whole.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                header = json.loads(str(arrays["header"]))
                return cls.from_header(header, arrays["positions_nm"], arrays.get("forces_kj_mol_nm"))
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            advice = "Delete the file and start again: its run goes on from the files in its work directory."
            raise InputError(path, "", str(error), "a whole bead trajectory", advice) from error


@dataclass(frozen=True)
class RadialDistribution:
    """g(r) on the common grid `mobcg.pair.R_NM`, and its standard error from time blocks; both (150,)."""

    rdf: NDArray[np.float64]
    rdf_se: NDArray[np.float64]


@dataclass(frozen=True)
class SelfDiffusion:
    """Self-diffusion coefficient in nm²/ns: as measured, its standard error, and with the finite-size correction."""

    diffusion_nm2_ns: float
    diffusion_nm2_ns_se: float
    diffusion_yh_nm2_ns: float


def radial_distribution(
    positions_nm: NDArray, box_length_nm: float, n_blocks: int = 5, molecules: NDArray[np.int64] | None = None
) -> RadialDistribution:
    r"""Return the radial distribution function of a cubic periodic box.

    g(r) = V / (N (N−1)) · <Σ_{i≠j} δ(r − r_ij)> / (4π r² Δr), so that an ideal gas of any N has g = 1. Where pairs of
    one molecule are left out, N (N−1) is the number of those that are not, and an ideal gas of molecules has g = 1.

    Parameters
    ----------
    positions_nm
        (frames, beads, 3), wrapped or not.
    box_length_nm
        Edge of the box; more than 3 nm, twice the reach of the grid.
    n_blocks
        Time blocks whose scatter gives the standard error.
    molecules
        (beads,): number of the molecule of each bead; pairs of one molecule are then left out. None: none are.

    Raises
    ------
    ValueError
        The box is too small, or there are fewer frames than blocks.
    """
    if box_length_nm <= 2 * R_EDGES_NM[-1]:
        raise ValueError(f"a box of {box_length_nm:.3f} nm is too small for g(r) up to {R_EDGES_NM[-1]} nm")
    if len(positions_nm) < n_blocks:
        raise ValueError(f"{len(positions_nm)} frames are fewer than {n_blocks} blocks")
    n_beads = np.shape(positions_nm)[1]
    same = [] if molecules is None else [np.flatnonzero(molecules == number) for number in np.unique(molecules)]
    n_pairs = n_beads * (n_beads - 1) / 2 - sum(len(beads) * (len(beads) - 1) / 2 for beads in same)
    expected = n_pairs / box_length_nm**3 * (4 / 3 * np.pi * np.diff(R_EDGES_NM**3))
    parts = np.array_split(np.asarray(positions_nm, np.float64), n_blocks)

    def counts(frame: NDArray) -> NDArray[np.int64]:
        return pair_counts(frame, box_length_nm) - sum(pair_counts(frame[beads], box_length_nm) for beads in same)

    blocks = [sum(counts(frame) for frame in frames) / len(frames) / expected for frames in parts]
    weights = [len(frames) for frames in parts]
    return RadialDistribution(
        np.average(blocks, axis=0, weights=weights), np.std(blocks, axis=0, ddof=1) / n_blocks**0.5
    )


def pair_counts(positions_nm: NDArray[np.float64], box_length_nm: float) -> NDArray[np.int64]:
    """Return how many pairs of a cubic periodic box lie in each bin of the common grid, nearest images; (150,).

    Every pair is looked at, a block of rows at a time so that it stays in the processor's cache: up to 2000 beads that
    is faster than a search for neighbours (freud's), of which there are many within 1.5 nm.

    Parameters
    ----------
    positions_nm
        (beads, 3), wrapped or not.
    box_length_nm
        Edge of the box; more than 3 nm.
    """
    counts = np.zeros(R_NM.size, np.int64)
    fractions = np.ascontiguousarray(positions_nm.T) / box_length_nm
    bins_per_box = box_length_nm / BIN_WIDTH_NM
    for first in range(0, len(positions_nm), PAIR_ROWS):
        squared = _squared_distances(fractions[:, first : first + PAIR_ROWS], fractions[:, first:])
        # Each bead itself, and in the square at the left each pair once more.
        squared[:, : len(squared)][np.tril_indices(len(squared))] = np.inf
        near = squared[squared < (R_EDGES_NM[-1] / box_length_nm) ** 2]
        counts += np.bincount((np.sqrt(near) * bins_per_box).astype(np.intp), minlength=R_NM.size)[: R_NM.size]
    return counts


def _squared_distances(a: NDArray, b: NDArray) -> NDArray[np.float64]:
    """Return the squared distances (n, m) of nearest images, for (3, n) and (3, m) in units of the box edge."""
    squared = np.zeros((a.shape[1], b.shape[1]))
    for x, y in zip(a, b, strict=True):
        apart = np.subtract.outer(x, y)
        apart -= np.rint(apart)
        squared += apart * apart
    return squared


def remove_drift(positions_nm: NDArray) -> NDArray[np.float64]:
    """Return positions relative to the centre of mass of the whole box (all beads weigh the same), same shape."""
    positions = np.asarray(positions_nm, np.float64)
    return positions - positions.mean(axis=1, keepdims=True)


def mean_squared_displacement(positions_nm: NDArray) -> NDArray[np.float64]:
    """Return MSD(t) = <|r_i(t0 + t) − r_i(t0)|²> in nm² for each lag, averaged over beads and all origins t0.

    Parameters
    ----------
    positions_nm
        (frames, beads, 3), unwrapped; the drift of the whole box is removed here.

    Returns
    -------
    msd_nm2
        (frames,), the first entry 0.
    """
    import freud

    msd = freud.msd.MSD(mode="window")
    msd.compute(remove_drift(positions_nm))
    return np.array(msd.msd, np.float64)


def displacement_curve(trajectory: BeadTrajectory, n_lags: int = 60) -> tuple[NDArray, NDArray]:
    """Return lags (ps) and MSD (nm²), at most `n_lags`, spaced evenly in log t up to 1.5 times the end of the fit."""
    window = fit_window(
        trajectory.frame_ps, trajectory.mass_g_mol, trajectory.temperature_k, trajectory.number_density_nm3
    )
    last = min(int(1.5 * window[-1]), len(trajectory.positions_nm) - 1)
    lags = np.unique(np.geomspace(1, last, n_lags).round().astype(int))
    return lags * trajectory.frame_ps, mean_squared_displacement(trajectory.positions_nm)[lags]


def fit_window(
    frame_ps: float, mass_g_mol: float, temperature_k: float, number_density_nm3: float
) -> NDArray[np.int64]:
    """Return the lags (in frames) of the window `FIT_WINDOW_TAU` in which D is fitted.

    Raises
    ------
    ValueError
        The window begins within the first frame, where lag 0 would pass for diffusion.
    """
    tau_ps = reduced_time_ps(mass_g_mol, temperature_k, number_density_nm3)
    first, last = (round(edge * tau_ps / frame_ps) for edge in FIT_WINDOW_TAU)
    if first < 1:
        raise ValueError(
            f"frames of {frame_ps:.3g} ps are too far apart: D is fitted from {FIT_WINDOW_TAU[0]} τ on, "
            f"{FIT_WINDOW_TAU[0] * tau_ps:.3g} ps"
        )
    return np.unique(np.linspace(first, max(last, first + 1), 24).round().astype(int))


def self_diffusion(trajectory: BeadTrajectory) -> SelfDiffusion:
    r"""Return the self-diffusion coefficient from the slope of the multiple-origin MSD, MSD = c + 6 D t.

    The least-squares slope is linear in the MSD, D = Σ_k w_k MSD(t_k), so every time origin t0 has a value
    d(t0) = Σ_k w_k |r(t0 + t_k) − r(t0)|² of its own. Their blocks, each at least as long as the fit window, give a
    standard error (Flyvbjerg and Petersen, J. Chem. Phys. 91, 461 (1989)). A short run has few blocks, whose scatter
    may be small by chance: the scatter between the beads, as if they moved independently, is the least it can be.

    Raises
    ------
    ValueError
        The trajectory is shorter than four times the end of the fit window.
    """
    frame_ps = trajectory.frame_ps
    lags = fit_window(frame_ps, trajectory.mass_g_mol, trajectory.temperature_k, trajectory.number_density_nm3)
    n_frames = len(trajectory.positions_nm)
    if n_frames < 4 * lags[-1]:
        raise ValueError(
            f"a trajectory of {n_frames * frame_ps:.1f} ps is too short: "
            f"D is fitted up to {lags[-1] * frame_ps:.1f} ps and needs four times that"
        )
    weights = _slope_weights(lags * frame_ps) / 6
    # fsum, not @: what BLAS makes of a short product may differ in the last bit from one process to the next.
    diffusion = math.fsum(weights * mean_squared_displacement(trajectory.positions_nm)[lags])
    positions = remove_drift(trajectory.positions_nm)
    n_origins = n_frames - lags[-1]
    origins, beads = np.zeros(n_origins), np.zeros(positions.shape[1])
    for lag, weight in zip(lags, weights, strict=True):
        step = positions[lag : lag + n_origins] - positions[:n_origins]
        squared = weight * (step[..., 0] ** 2 + step[..., 1] ** 2 + step[..., 2] ** 2)
        origins += squared.mean(axis=1)
        beads += squared.mean(axis=0)
    n_blocks = max(2, min(10, n_origins // lags[-1]))
    blocks = np.array([block.mean() for block in np.array_split(origins, n_blocks)])
    error = max(_standard_error(blocks), _standard_error(beads))
    return SelfDiffusion(
        diffusion * NM2_NS_PER_NM2_PS,
        error * NM2_NS_PER_NM2_PS,
        diffusion * NM2_NS_PER_NM2_PS * finite_size_factor(positions.shape[1]),
    )


def neighbour_correlation(trajectory: BeadTrajectory) -> tuple[float, float] | None:
    r"""Return how far neighbours move together, C, and its standard error from time blocks (dimensionless).

    C = ⟨Δr_i · Δr_j⟩ / ⟨|Δr_i|²⟩ over pairs that are less than `NEIGHBOUR_DISTANCE` ρ^(-1/3) apart at the origin of
    time (the first shell), in the time in which the mean squared displacement reaches (`MOVED_DISTANCE` ρ^(-1/3))². At
    equal displacement a slow liquid is compared with a fast one: what is left is how momentum passes from bead to bead,
    which a friction against a resting background cuts off and a friction between beads does not. Doliwa and Heuer,
    Phys. Rev. E 61, 6898 (2000), for such correlations in liquids. The drift of the whole box is removed, which takes
    1/(N − 1) from C.

    Returns None for a trajectory of less than four times that displacement.
    """
    spacing_nm = trajectory.number_density_nm3 ** (-1 / 3)
    msd_nm2 = mean_squared_displacement(trajectory.positions_nm)
    reached = np.flatnonzero(msd_nm2 >= (MOVED_DISTANCE * spacing_nm) ** 2)
    if not reached.size or len(msd_nm2) < 4 * reached[0]:
        return None
    lag, positions, edge = int(reached[0]), remove_drift(trajectory.positions_nm), trajectory.box_length_nm
    origins = np.unique(np.linspace(0, len(positions) - lag - 1, CORRELATION_ORIGINS).round().astype(int))
    together, alone = np.zeros(origins.size), np.zeros(origins.size)
    for number, origin in enumerate(origins):
        moved, start = positions[origin + lag] - positions[origin], trajectory.positions_nm[origin] / edge
        near = _squared_distances(start.T, start.T) < (NEIGHBOUR_DISTANCE * spacing_nm / edge) ** 2
        np.fill_diagonal(near, val=False)
        # einsum, not BLAS, whose last bit may differ from one process to the next.
        together[number] = np.einsum("ij,ik,jk->", near, moved, moved) / max(near.sum(), 1)
        alone[number] = np.mean(moved**2) * 3
    parts = np.array_split(together, CORRELATION_BLOCKS), np.array_split(alone, CORRELATION_BLOCKS)
    ratios = np.array([one.mean() / other.mean() for one, other in zip(*parts, strict=True)])
    return float(together.mean() / alone.mean()), _standard_error(ratios)


def _standard_error(values: NDArray) -> float:
    return float(values.std(ddof=1) / values.size**0.5)


def _slope_weights(x: NDArray) -> NDArray[np.float64]:
    """Return w such that w @ y is the slope of the least-squares line through (x, y)."""
    centred = x - x.mean()
    return centred / math.fsum(centred**2)


def finite_size_factor(n_beads: int) -> float:
    r"""Return D(infinite box) / D(cubic periodic box of N beads), the correction of Yeh and Hummer.

    D_∞ = D + ξ kT / (6π η L) (J. Phys. Chem. B 108, 15873 (2004)) needs the viscosity, which a short run of a small
    box does not give. It is estimated from the same D by η D_∞ = α kT ρ^(1/3) (`STOKES_EINSTEIN_ALPHA`), hence
    D_∞ / D = 1 / (1 − ξ / (6π α N^(1/3))). The estimate of η is good to about 20 %, the correction to as much.
    """
    return 1 / (1 - YEH_HUMMER_XI / (6 * np.pi * STOKES_EINSTEIN_ALPHA * n_beads ** (1 / 3)))


def rdf_error(rdf: ArrayLike, reference: ArrayLike, r_min_nm: float = 0.1) -> float:
    """Return ∫ |g − g_ref| dr / ∫ g_ref dr over 0.1 to 1.5 nm (dimensionless); both (150,) on the common grid."""
    inside = r_min_nm <= R_NM
    g, g_reference = np.asarray(rdf)[inside], np.asarray(reference)[inside]
    return float(np.abs(g - g_reference).sum() / g_reference.sum())


def rdf_r2(rdf: ArrayLike, reference: ArrayLike, r_min_nm: float = 0.1) -> float:
    """Return the coefficient of determination R² of g against a reference over 0.1 to 1.5 nm; both (150,)."""
    inside = r_min_nm <= R_NM
    g, g_reference = np.asarray(rdf)[inside], np.asarray(reference)[inside]
    return float(1 - np.sum((g - g_reference) ** 2) / np.sum((g_reference - g_reference.mean()) ** 2))


def score(rdf_error_value: float, alpha: float) -> float:
    """Return S = sqrt((rdf_error / 0.1)² + (ln α / ln 2)²): an rdf_error of 0.1 weighs as much as a factor 2 in D."""
    return float(np.hypot(rdf_error_value / 0.1, np.log(alpha) / np.log(2)))


def block_mean(series: ArrayLike, n_blocks: int = 5) -> tuple[float, float]:
    """Return mean and standard error of a correlated time series, from the scatter of its blocks.

    Raises
    ------
    ValueError
        There are fewer values than blocks.
    """
    values = np.asarray(series, np.float64)
    if len(values) < n_blocks:
        raise ValueError(f"{len(values)} values are fewer than {n_blocks} blocks")
    means = np.array([block.mean() for block in np.array_split(values, n_blocks)])
    return float(values.mean()), float(means.std(ddof=1) / n_blocks**0.5)
