r"""pair_fm: the pair force nearest to the atomistic net forces, by least squares on cubic splines.

    F_i ≈ Σ_j f(r_ij) r̂_ij,    f(r) = Σ_k c_k B_k(r),    f(1.5 nm) = 0

The coefficients minimise Σ |F_i − Σ_j f(r_ij) r̂_ij|², a linear problem (Izvekov and Voth, J. Phys. Chem. B 109, 2469
(2005); Noid et al., J. Chem. Phys. 128, 244114 (2008)). Most of the force on a molecule is noise that no function of
the centres of mass explains, so R² is small for the best of models too; the standard errors come from time blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.interpolate import BSpline

from mobcg.errors import InputError, SimulationError
from mobcg.forcematch.frames import Frames, Residuals, time_blocks
from mobcg.pair import CUTOFF_NM, R_NM, extrapolate_core, taper

DEGREE = 3
KNOT_SPACING_NM = 0.03
# Closest distance of the splines: as many pairs as this are closer, and count as if they were there.
CLOSEST_PAIRS = 5
# Weight of the squared second differences of the coefficients, in units of the mean diagonal: it decides only at the
# ends of the range, where pairs are few.
SMOOTHING = 1e-6


@dataclass(frozen=True)
class PairForce:
    """A fitted pair force.

    Attributes
    ----------
    start_nm
        Where the splines begin.
    coefficients, block_coefficients
        (k,) of the fit to all frames, and (blocks, k) of the fits to each block of time.
    """

    start_nm: float
    coefficients: NDArray[np.float64]
    block_coefficients: NDArray[np.float64]

    def potential_kj_mol(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return U(r) = ∫ f dr from r to the cutoff and its standard error, (150,) each, on the common grid.

        Inside of the splines the wall is that of `mobcg.pair`, and the last 0.1 nm are tapered, as everywhere.

        Raises
        ------
        SimulationError
            The force attracts where the splines begin: too few pairs came so close.
        """
        first = int(np.searchsorted(R_NM, self.start_nm))
        curves = [self._integral(row) for row in (self.coefficients, *self.block_coefficients)]
        try:
            shaped = taper(extrapolate_core(curves[0], first))
        except ValueError as error:
            raise SimulationError(f"{error}; it takes more frames, or frames further apart") from None
        error = taper(np.std(curves[1:], axis=0, ddof=1) / len(curves[1:]) ** 0.5)
        error[:first] = error[first]
        return shaped, error

    def _integral(self, coefficients: NDArray) -> NDArray[np.float64]:
        spline = BSpline(knots(self.start_nm), np.append(coefficients, 0.0), DEGREE).antiderivative()
        r = np.maximum(R_NM, self.start_nm)
        return spline(CUTOFF_NM) - spline(r)


@dataclass(frozen=True)
class _Equations:
    """Normal equations of some frames: Σ AᵀA, Σ AᵀF and Σ F²."""

    matrix: NDArray[np.float64]
    right: NDArray[np.float64]
    squared: float

    def __add__(self, other: _Equations) -> _Equations:
        """Return the equations of both sets of frames."""
        return _Equations(self.matrix + other.matrix, self.right + other.right, self.squared + other.squared)

    def solve(self) -> NDArray[np.float64]:
        """Return the coefficients."""
        second = np.diff(np.eye(len(self.right)), 2, axis=0)
        weight = SMOOTHING * np.trace(self.matrix) / len(self.right)
        return np.linalg.solve(self.matrix + weight * second.T @ second, self.right)

    def left(self, coefficients: NDArray) -> float:
        """Return Σ |F − A c|²."""
        return float(self.squared - 2 * coefficients @ self.right + coefficients @ self.matrix @ coefficients)


def fit(sets: Frames | Sequence[Frames]) -> PairForce:
    """Return the pair force of some frames, or of frames of several state points together.

    Raises
    ------
    InputError
        A molecule has more than one bead.
    """
    sets = [sets] if isinstance(sets, Frames) else list(sets)
    for frames in sets:
        if len(np.unique(frames.beads.molecules)) < len(frames.beads):
            raise InputError("force matching", "pair_fm", "several beads a molecule", "one bead a molecule")
    start = closest_nm(sets)
    blocks = [sum(rest, first) for first, *rest in zip(*(_blocks(frames, start) for frames in sets), strict=True)]
    whole = sum(blocks[1:], blocks[0])
    return PairForce(start, whole.solve(), np.array([block.solve() for block in blocks]))


def residuals(force: PairForce, frames: Frames) -> Residuals:
    """Return what a pair force leaves of the squared net forces."""
    blocks = _blocks(frames, force.start_nm)
    left = [block.left(force.coefficients) for block in blocks]
    return Residuals(np.array(left), np.array([block.squared for block in blocks]))


def closest_nm(sets: Sequence[Frames]) -> float:
    """Return the distance that only `CLOSEST_PAIRS` pairs in all frames come below."""
    nearest = [
        np.sort(_pairs(positions, frames.box_length_nm)[2])[:CLOSEST_PAIRS]
        for frames in sets
        for positions in frames.positions_nm
    ]
    return float(np.sort(np.concatenate(nearest))[CLOSEST_PAIRS - 1])


def knots(start_nm: float) -> NDArray[np.float64]:
    """Return the knots of the splines, from `start_nm` to the cutoff, the ends repeated."""
    intervals = max(4, round((CUTOFF_NM - start_nm) / KNOT_SPACING_NM))
    inner = np.linspace(start_nm, CUTOFF_NM, intervals + 1)
    return np.concatenate([np.full(DEGREE, start_nm), inner, np.full(DEGREE, CUTOFF_NM)])


def _pairs(positions_nm: NDArray, box_length_nm: float) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Return i, j, distance and unit vector from j to i of all pairs within the cutoff, nearest images."""
    i, j = np.triu_indices(len(positions_nm), 1)
    apart = positions_nm[i] - positions_nm[j]
    apart -= box_length_nm * np.rint(apart / box_length_nm)
    distance = np.sqrt(np.einsum("pd,pd->p", apart, apart))
    near = distance < CUTOFF_NM
    return i[near], j[near], distance[near], apart[near] / distance[near, None]


def _blocks(frames: Frames, start_nm: float) -> list[_Equations]:
    return [_equations(block, start_nm) for block in time_blocks(frames)]


def _equations(frames: Frames, start_nm: float) -> _Equations:
    t = knots(start_nm)
    size = len(t) - DEGREE - 2  # the last function is the only one that is not 0 at the cutoff
    matrix, right = np.zeros((size, size)), np.zeros(size)
    for positions, forces in zip(frames.positions_nm, frames.forces_kj_mol_nm, strict=True):
        i, j, distance, unit = _pairs(positions, frames.box_length_nm)
        basis = BSpline.design_matrix(np.maximum(distance, start_nm), t, DEGREE)[:, :size]
        pair, one = np.arange(len(i)), np.ones(len(i))
        onto = sparse.csr_array((np.r_[one, -one], (np.r_[i, j], np.r_[pair, pair])), (len(positions), len(i)))
        for axis in range(3):
            design = (onto @ sparse.diags_array(unit[:, axis]) @ basis).toarray()
            matrix += design.T @ design
            right += design.T @ forces[:, axis]
    return _Equations(matrix, right, float(np.sum(frames.forces_kj_mol_nm**2)))
