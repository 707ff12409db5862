r"""The prior: coarse-grained liquids whose pair potential and density are drawn at random; no molecule is behind them.

A proposal is U/kT = wall + well + bumps + tail, in lengths of the contact distance σ = contact·ρ^(−1/3), x = r/σ:

- wall, one of three kinds: x^(−n); exp(n (1 − x)); or a core (x/f)^(−n) inside a soft shoulder of height h that falls
  at x = 1, h/(1 + exp((x − 1)/w))
- well −ε exp(−ln²(x/x_m)/2s²), steep inside and wide outside
- bumps, some Gaussians of either sign: shoulders of the well, second minima, barriers
- tail, a Gaussian process of r (squared-exponential covariance, from random Fourier features; Rahimi and Recht, NIPS
  20 (2007)), switched on outside the wall

cut off as every potential is (`mobcg.pair`): an exponential core, a taper. Draws are uniform in the `ranges` of the
spec; the exponent, widths and the length of the tail are uniform in their logarithm. Proposals that an integral
equation does not take for a homogeneous liquid are rejected before anything is run, and the next one is tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mobcg.coarse.integral_equation import NoSolutionError, solve
from mobcg.config import PriorRanges
from mobcg.pair import R_NM, extrapolate_core, taper
from mobcg.spec import seed
from mobcg.units import NM2_NS_PER_NM2_PS, reduced_time_ps, thermal_energy_kj_mol

MAX_PROPOSALS = 500
# Below this energy the wall is as drawn, above it the exponential core of `mobcg.pair`: beads get no further.
CORE_KT = 12.0
SHOULDER_CORE = (0.75, 0.95)  # f above
LEAST_SHOULDER_WIDTH = 0.03
TAIL_WAVES = 16
TAIL_FROM, TAIL_SWITCH = 1.1, 0.05
# D* at freezing is about 0.025 whatever the liquid (Rosenfeld); a solid has next to none.
LEAST_REDUCED_DIFFUSION = 0.01
# r²-weighted mean of g over this range, which is above 1 where beads cluster in a part of the box.
TAIL_NM = (1.0, 1.5)
TAIL_TOLERANCE = 0.05


def draw_liquid(spec: Mapping[str, Any]) -> tuple[float, NDArray[np.float64]] | None:
    """Return density (1/nm³) and potential (150,) in kJ/mol of the first proposal that passes the screen.

    `spec` is one of `mobcg.plan.prior_potentials`. None where no proposal of `MAX_PROPOSALS` passes.
    """
    for attempt in range(MAX_PROPOSALS):
        density_nm3, potential = propose(spec, attempt)
        if potential is not None and is_liquid(potential, density_nm3, spec):
            return density_nm3, potential
    return None


def propose(spec: Mapping[str, Any], attempt: int) -> tuple[float, NDArray[np.float64] | None]:
    """Return density (1/nm³) and potential (150,) in kJ/mol of one proposal; None where it has no wall to speak of.

    The random numbers are those of the spec and of the attempt alone.
    """
    ranges = spec["ranges"]
    random = np.random.default_rng([seed(spec, "prior"), attempt])

    def draw(name: str) -> float:
        return float(random.uniform(*ranges[name]))

    def draw_log(name: str) -> float:
        return float(np.exp(random.uniform(*np.log(ranges[name]))))

    density_nm3 = draw("number_density_nm3")
    x = R_NM / (draw("contact") * density_nm3 ** (-1 / 3))
    exponent = draw_log("wall_exponent")
    kind = random.integers(3)
    if kind == 0:
        energy = x**-exponent
    elif kind == 1:
        energy = np.exp(exponent * (1 - x))
    else:
        height, core = draw("shoulder_kt"), random.uniform(*SHOULDER_CORE)
        width = max(height / (4 * exponent), LEAST_SHOULDER_WIDTH)
        energy = (x / core) ** -exponent + height / (1 + np.exp((x - 1) / width))
    depth, place, spread = draw("well_depth_kt"), draw("well_place"), draw_log("well_width")
    energy = energy - depth * np.exp(-(np.log(x / place) ** 2) / (2 * spread**2))
    for _ in range(random.integers(ranges["bumps"][0], ranges["bumps"][1] + 1)):
        height, place, spread = draw("bump_kt"), draw("bump_place"), draw_log("bump_width")
        energy = energy + height * np.exp(-(((x - place) / spread) ** 2) / 2)
    strength, length_nm = draw("tail_kt"), draw_log("tail_length_nm")
    switch = 1 / (1 + np.exp(-(x - TAIL_FROM) / TAIL_SWITCH))
    energy = energy + strength * switch * _gaussian_process(random, length_nm)
    return density_nm3, _cut_off(energy * thermal_energy_kj_mol(spec["temperature_k"]), spec["temperature_k"])


def _gaussian_process(random: np.random.Generator, length_nm: float) -> NDArray[np.float64]:
    waves_1_nm = random.standard_normal(TAIL_WAVES) / length_nm
    phases = random.uniform(0, 2 * np.pi, TAIL_WAVES)
    return np.sqrt(2 / TAIL_WAVES) * np.cos(np.outer(R_NM, waves_1_nm) + phases).sum(axis=1)


def _cut_off(potential_kj_mol: NDArray, temperature_k: float) -> NDArray[np.float64] | None:
    high = np.flatnonzero(potential_kj_mol >= CORE_KT * thermal_energy_kj_mol(temperature_k))
    if not high.size:
        return None
    try:
        return taper(extrapolate_core(potential_kj_mol, int(high[-1]) + 1))
    except ValueError:
        return None


def is_liquid(potential_kj_mol: ArrayLike, number_density_nm3: float, spec: Mapping[str, Any]) -> bool:
    """Return whether `mobcg.coarse.integral_equation` finds the homogeneous liquid that the spec's `screen` asks for.

    A large S(k → 0) announces phase separation, a high peak of S(k) or g(r) freezing (Hansen and Verlet, Phys. Rev.
    184, 151 (1969): 2.85), a low peak of g(r) is a gas.
    """
    screen = spec["screen"]
    energy_kt = np.asarray(potential_kj_mol) / thermal_energy_kj_mol(spec["temperature_k"])
    try:
        structure = solve(energy_kt, number_density_nm3)
    except NoSolutionError:
        return False
    low, high = screen["rdf_peak"]
    return bool(
        low <= structure.rdf.max() <= high
        and 0 < structure.structure_factor[0] <= screen["structure_factor_zero_max"]
        and structure.structure_factor.max() <= screen["structure_factor_peak_max"]
    )


def came_apart(_: Mapping[str, Any], row: Mapping[str, Any]) -> str | None:
    """Return why a finished run is of no liquid: droplets or voids, where g(r) is above 1 at large r; else None."""
    outer = slice(*np.searchsorted(R_NM, TAIL_NM))
    tail = float(np.average(row["rdf"][outer], weights=R_NM[outer] ** 2))
    return f"came apart: g(r) is {tail:.3f} at large r" if abs(tail - 1) > TAIL_TOLERANCE else None


def fault(spec: Mapping[str, Any], row: Mapping[str, Any]) -> str | None:
    """Return why a finished run of a liquid of the prior is not to be kept; None where it is a liquid after all.

    The screen is an approximation: some came apart, and what froze has D* = D sqrt(m/kT) ρ^(1/3) below
    `LEAST_REDUCED_DIFFUSION`.
    """
    density_nm3 = row["number_density_nm3"]
    tau_ps = reduced_time_ps(spec["mass_g_mol"], spec["temperature_k"], density_nm3)
    reduced = row["diffusion_nm2_ns"] / NM2_NS_PER_NM2_PS * tau_ps * density_nm3 ** (2 / 3)
    froze = spec["thermostat"] == "nose_hoover" and reduced < LEAST_REDUCED_DIFFUSION
    return came_apart(spec, row) or (f"froze: D* is {reduced:.4f}" if froze else None)


def is_drawn_from(spec: Mapping[str, Any], number_density_nm3: float, potential_kj_mol: ArrayLike) -> bool:
    """Return whether density and potential are those of one of the proposals of a spec, to rounding.

    No integral equation is solved, so a whole release is checked in seconds.

    Raises
    ------
    ValueError
        The spec has ranges that no configuration may have.
    """
    PriorRanges.model_validate(spec["ranges"])
    for attempt in range(MAX_PROPOSALS):
        density_nm3, potential = propose(spec, attempt)
        if abs(density_nm3 / number_density_nm3 - 1) < 1e-9:
            return potential is not None and np.allclose(potential, potential_kj_mol, rtol=1e-6, atol=1e-6)
    return False
