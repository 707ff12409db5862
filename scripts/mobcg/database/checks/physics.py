"""What the numbers of a release must obey whatever the liquid: checks on columns, each yielding rows that break it.

A check gets a batch of rows whose status is ok as a dictionary of NumPy arrays (n,), curves (n, 150), lists of unequal
length as object arrays, and yields `Breach`es. Tolerances are wide enough for the noise of short runs and narrow
enough for a wrong unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobcg.observables import finite_size_factor
from mobcg.pair import BIN_WIDTH_NM, R_NM, force
from mobcg.units import (
    BAR_PER_KJ_MOL_NM3,
    BOLTZMANN_KJ_MOL_K,
    KG_M3_PER_G_MOL_NM3,
    NM2_NS_PER_NM2_PS,
)

Columns = Mapping[str, NDArray]

# r²-weighted mean of g over this range must be 1 within TAIL_TOLERANCE: it is 1.3 for a droplet, 0 for a wrong column.
TAIL_NM = (1.0, 1.5)
TAIL_TOLERANCE = 0.1
# Standard error of g(r), root mean square from this distance on, where g is smooth: no liquid that was simulated is
# known so badly, nor so much better than its own bins scatter.
NOISE_FROM_NM = 0.9
RDF_SE_MOST = 0.25
RDF_SE_LEAST = 0.05
# Relative; what is computed from the same numbers differs by rounding, densities also by that of a box in a file.
ROUNDING = 1e-6
DENSITY_RELATIVE = 1e-4
FORCE_TOLERANCE = 1e-6
# Slope of the MSD over this part of its lags, about the window in which D was fitted, against D: relative, plus
# standard errors for a liquid that hardly moves. Every wrong unit is a factor 10 or more.
MSD_WINDOW = (0.2, 0.7)
MSD_RELATIVE = 0.25
MSD_SIGMA = 6.0
# SE(D)/D of beads that move independently, in windows as long as the MSD that do not overlap, is sqrt(2/(3 n)): least
# part of it that is believed.
DIFFUSION_SE_LEAST = 0.3
# D sqrt(m) of one potential: largest deviation from the mean, in standard errors, and in relative terms.
MASS_LAW_SIGMA = 6.0
MASS_LAW_RELATIVE = 0.1
TEMPERATURE_RELATIVE = 0.05
MOLAR_MASS_RELATIVE = 0.005
STATE_DENSITY_RELATIVE = 0.01
PRODUCTION_RELATIVE = 0.02  # a whole number of frames
RDF_ERROR_TOLERANCE = 0.02
SCORE_RDF_ERROR = 0.1
# Virial pressure on the bins of the grid: part of the sum of its contributions, all counted positive, plus standard
# errors. The bins cost 0.5 % of them at most.
VIRIAL_RELATIVE = 0.02
VIRIAL_SIGMA = 6.0
# What a friction leaves of D, in units of kT / (friction of a bead): at most 1 against a background at rest; beads
# that drag their neighbours along reach 0.9.
DRAG_LIMIT = {"nose_hoover": np.inf, "langevin": 1.1, "dpd": 2.0}
DPD_CUTOFF_NM = 1.0
# S(e, α) is a norm: its error is at most that of e and α together, and about that to first order.
SCORE_SE_LEAST, SCORE_SE_MOST = 0.5, 1.01
# A density at 1 atm or from experiment lies within this factor of that of the atomistic liquid, in any wrong unit not.
DENSITY_RATIO = 10.0


@dataclass(frozen=True)
class Breach:
    """Row of the batch, column, value found and the rule that it breaks."""

    row: int
    field: str
    value: object
    rule: str


def _breaches(mask: NDArray, field: str, values: NDArray, rule: str) -> Iterator[Breach]:
    # A comparison with NaN (null) is false, so what is not there breaks no rule here.
    for row in np.flatnonzero(mask):
        yield Breach(int(row), field, _plain(values[row]), rule)


def _plain(value: object) -> object:
    return float(value) if isinstance(value, np.floating) else value


def rdf_tail(rows: Columns) -> Iterator[Breach]:
    """g(r) → 1 at large r: |∫ g r² dr / ∫ r² dr − 1| ≤ 0.1 over 1.0 to 1.5 nm."""
    inside = (TAIL_NM[0] <= R_NM) & (TAIL_NM[1] >= R_NM)
    weights = R_NM[inside] ** 2 / np.sum(R_NM[inside] ** 2)
    tail = rows["rdf"][:, inside] @ weights
    yield from _breaches(np.abs(tail - 1) > TAIL_TOLERANCE, "rdf", tail, "g(r) tends to 1 at large r")


def error_of_rdf(rows: Columns) -> Iterator[Breach]:
    """SE(g) is neither that of no liquid nor far below the scatter of the bins, sqrt(⟨(Δ³g)²⟩/20)."""
    smooth = R_NM > NOISE_FROM_NM
    error = np.sqrt(np.mean(rows["rdf_se"][:, smooth] ** 2, axis=1))
    scatter = np.sqrt(np.mean(np.diff(rows["rdf"][:, smooth], 3, axis=1) ** 2, axis=1) / 20)
    off = (error > RDF_SE_MOST) | (error < RDF_SE_LEAST * scatter)
    yield from _breaches(off, "rdf_se", error, "the error that g(r) has by its scatter")


def force_is_derivative(rows: Columns) -> Iterator[Breach]:
    """F(r) = −dU/dr, the derivative of the cubic spline through U."""
    expected = np.array([force(potential) for potential in rows["potential_kj_mol"]])
    deviation = np.abs(rows["force_kj_mol_nm"] - expected) / (1 + np.abs(expected))
    worst = deviation.max(axis=1)
    yield from _breaches(worst > FORCE_TOLERANCE, "force_kj_mol_nm", worst, "F = -dU/dr of the spline through U")


def diffusion_matches_msd(rows: Columns) -> Iterator[Breach]:
    """D = slope of the MSD / 6 within a quarter of it and 6 standard errors."""
    slopes = [_slope(np.asarray(t), np.asarray(y)) for t, y in zip(rows["msd_time_ps"], rows["msd_nm2"], strict=True)]
    diffusion = rows["diffusion_nm2_ns"]
    allowed = MSD_RELATIVE * diffusion + MSD_SIGMA * rows["diffusion_nm2_ns_se"]
    off = np.abs(NM2_NS_PER_NM2_PS * np.array(slopes) / 6 - diffusion) > allowed
    yield from _breaches(off, "diffusion_nm2_ns", diffusion, "D is a sixth of the slope of the MSD")


def error_of_diffusion(rows: Columns) -> Iterator[Breach]:
    """SE(D)/D is no less than for beads that move independently, sqrt(2/(3 n)), n of them times windows of the MSD."""
    count = rows["n_beads"] if "n_beads" in rows else rows["n_molecules"]
    longest_ps = np.array([times[-1] if len(times) else np.nan for times in rows["msd_time_ps"]])
    least = DIFFUSION_SE_LEAST * np.sqrt(2 / 3 * longest_ps / (count * rows["production_ps"]))
    error = rows["diffusion_nm2_ns_se"]
    off = error < least * rows["diffusion_nm2_ns"]
    yield from _breaches(off, "diffusion_nm2_ns_se", error, "no less than the error of beads that move independently")


def _slope(time_ps: NDArray, msd_nm2: NDArray) -> float:
    """Return the slope (nm²/ps) of the line through the later part of an MSD; NaN where it has too few points."""
    if time_ps.size != msd_nm2.size:
        return np.nan
    inside = (MSD_WINDOW[0] * time_ps[-1] <= time_ps) & (time_ps <= MSD_WINDOW[1] * time_ps[-1])
    if inside.sum() < 2:
        return np.nan
    centred = time_ps[inside] - time_ps[inside].mean()
    return float(centred @ msd_nm2[inside] / (centred @ centred))


def curves_of_equal_length(rows: Columns) -> Iterator[Breach]:
    """The MSD has as many values as lag times."""
    unequal = np.array([len(msd) != len(time) for time, msd in zip(rows["msd_time_ps"], rows["msd_nm2"], strict=True)])
    yield from _breaches(unequal, "msd_nm2", unequal, "one MSD value for each lag time")


def box_and_number_density(count: str) -> Callable[[Columns], Iterator[Breach]]:
    """Return the check ρ = N / L³ for a table whose number of particles is the column `count`."""

    def check(rows: Columns) -> Iterator[Breach]:
        expected = rows[count] / rows["box_length_nm"] ** 3
        off = np.abs(rows["number_density_nm3"] / expected - 1) > DENSITY_RELATIVE
        yield from _breaches(off, "number_density_nm3", rows["number_density_nm3"], f"number density = {count} / box³")

    return check


def mass_density(rows: Columns) -> Iterator[Breach]:
    """Mass density = number density · mass."""
    expected = rows["number_density_nm3"] * rows["mass_g_mol"] * KG_M3_PER_G_MOL_NM3
    off = np.abs(rows["density_kg_m3"] / expected - 1) > DENSITY_RELATIVE
    yield from _breaches(off, "density_kg_m3", rows["density_kg_m3"], "density = number density * mass")


def thermostat_holds(rows: Columns) -> Iterator[Breach]:
    """The kinetic temperature is that of the thermostat within 5 %."""
    off = np.abs(rows["temperature_measured_k"] / rows["temperature_k"] - 1) > TEMPERATURE_RELATIVE
    yield from _breaches(off, "temperature_measured_k", rows["temperature_measured_k"], "temperature within 5 %")


def finite_size(count: str) -> Callable[[Columns], Iterator[Breach]]:
    """Return the check D_∞ = D f(N) of Yeh and Hummer for a table whose number of particles is the column `count`."""

    def check(rows: Columns) -> Iterator[Breach]:
        corrected = rows["diffusion_yh_nm2_ns"]
        expected = rows["diffusion_nm2_ns"] * finite_size_factor(rows[count])
        off = np.abs(corrected - expected) > ROUNDING * np.abs(expected)
        yield from _breaches(off, "diffusion_yh_nm2_ns", corrected, f"D times the finite-size factor of {count}")

    return check


def friction_fits_thermostat(rows: Columns) -> Iterator[Breach]:
    """Friction is 0 under Nosé-Hoover."""
    off = (rows["thermostat"] == "nose_hoover") & (rows["friction_1_ps"] != 0)
    yield from _breaches(off, "friction_1_ps", rows["friction_1_ps"], "no friction under Nosé-Hoover")


def friction_bounds_diffusion(rows: Columns) -> Iterator[Breach]:
    """D ≤ kT / (m γ) under Langevin friction, and of that order under DPD, where a bead has 4π/9 ρ r_c³ times γ."""
    neighbours = 4 / 9 * np.pi * DPD_CUTOFF_NM**3 * rows["number_density_nm3"]
    bead_friction = rows["friction_1_ps"] * np.where(rows["thermostat"] == "dpd", neighbours, 1.0)
    free = BOLTZMANN_KJ_MOL_K * rows["temperature_k"] / rows["mass_g_mol"]
    limits = np.array([DRAG_LIMIT.get(name, np.inf) for name in rows["thermostat"]])
    off = rows["diffusion_nm2_ns"] / NM2_NS_PER_NM2_PS * bead_friction > limits * free
    yield from _breaches(
        off, "friction_1_ps", rows["friction_1_ps"], "a friction that lets the beads diffuse as they do"
    )


def virial_pressure(rows: Columns) -> Iterator[Breach]:
    """p = ρkT + (2π/3) ρ² ∫ F g r³ dr, with the potential that was run (`potential_kj_mol`) and its own g(r)."""
    density = rows["number_density_nm3"]
    ideal = density * BOLTZMANN_KJ_MOL_K * rows["temperature_k"] * BAR_PER_KJ_MOL_NM3
    strength = np.array([force(potential) for potential in rows["potential_kj_mol"]])
    pairs = BAR_PER_KJ_MOL_NM3 * 2 * np.pi / 3 * density[:, None] ** 2 * strength * rows["rdf"] * R_NM**3 * BIN_WIDTH_NM
    pressure, contributions = ideal + pairs.sum(axis=1), ideal + np.abs(pairs).sum(axis=1)
    allowed = VIRIAL_RELATIVE * contributions + VIRIAL_SIGMA * np.nan_to_num(rows["pressure_bar_se"])
    off = np.abs(rows["pressure_bar"] - pressure) > allowed
    yield from _breaches(off, "pressure_bar", rows["pressure_bar"], "the virial pressure of g(r) and the potential")


def score_of_parts(rows: Columns) -> Iterator[Breach]:
    """Score = sqrt((e / 0.1)² + (ln α / ln 2)²)."""
    expected = np.hypot(rows["rdf_error"] / SCORE_RDF_ERROR, np.log(rows["alpha"]) / np.log(2))
    off = np.abs(rows["score"] - expected) > ROUNDING * (1 + expected)
    yield from _breaches(off, "score", rows["score"], "score = sqrt((rdf_error/0.1)² + (ln alpha/ln 2)²)")


def errors_of_scores(rows: Columns) -> Iterator[Breach]:
    """SE(α)/α is at least SE(D)/D; SE(S) is what SE(e) and SE(α) make, whether to first order or integrated."""
    alpha_se = rows["alpha_se"]
    least = rows["alpha"] * rows["diffusion_nm2_ns_se"] / rows["diffusion_nm2_ns"]
    yield from _breaches(alpha_se < least * (1 - ROUNDING), "alpha_se", alpha_se, "at least the relative error of D")
    parts = rows["rdf_error"] / SCORE_RDF_ERROR, np.log(rows["alpha"]) / np.log(2)
    errors = rows["rdf_error_se"] / SCORE_RDF_ERROR, alpha_se / rows["alpha"] / np.log(2)
    first_order = np.hypot(parts[0] * errors[0], parts[1] * errors[1]) / np.maximum(np.hypot(*parts), 1e-12)
    score_se = rows["score_se"]
    off = (score_se < SCORE_SE_LEAST * first_order) | (score_se > SCORE_SE_MOST * np.hypot(*errors))
    yield from _breaches(off, "score_se", score_se, "the error that those of rdf_error and alpha make")


def mass_law(rows: Columns) -> Iterator[Breach]:
    """D ∝ m^(−1/2) among the Nosé-Hoover rows of one potential, temperature and density.

    D sqrt(m) of each row lies within 6 standard errors, or within 10 %, of the mean of its group weighted by 1/SE².
    """
    free = rows["thermostat"] == "nose_hoover"
    scaled = rows["diffusion_nm2_ns"] * np.sqrt(rows["mass_g_mol"])
    error = rows["diffusion_nm2_ns_se"] * np.sqrt(rows["mass_g_mol"])
    state = np.round(rows["number_density_nm3"], 6)
    groups: dict[tuple, list[int]] = {}
    for row in np.flatnonzero(free & np.isfinite(scaled) & (error > 0)):
        group = rows["potential_id"][row], rows["temperature_k"][row], state[row], rows["n_beads"][row]
        groups.setdefault(group, []).append(int(row))
    for members in groups.values():
        mean = np.average(scaled[members], weights=error[members] ** -2.0)
        for row in members:
            allowed = max(MASS_LAW_SIGMA * error[row], MASS_LAW_RELATIVE * mean)
            if abs(scaled[row] - mean) > allowed:
                rule = f"D sqrt(m) is one number for one potential (here {mean:.4g}, this row {scaled[row]:.4g})"
                yield Breach(row, "diffusion_nm2_ns", float(rows["diffusion_nm2_ns"][row]), rule)


# Checks that look at one row at a time; `mass_law` and those across tables are called by name.
ROW_CHECKS: dict[str, tuple[Callable[[Columns], Iterator[Breach]], ...]] = {
    "atomistic": (
        rdf_tail,
        error_of_rdf,
        curves_of_equal_length,
        diffusion_matches_msd,
        error_of_diffusion,
        finite_size("n_molecules"),
        box_and_number_density("n_molecules"),
        mass_density,
    ),
    "potentials": (force_is_derivative,),
    "coarse": (
        rdf_tail,
        error_of_rdf,
        curves_of_equal_length,
        diffusion_matches_msd,
        error_of_diffusion,
        finite_size("n_beads"),
        box_and_number_density("n_beads"),
        thermostat_holds,
        friction_fits_thermostat,
        friction_bounds_diffusion,
    ),
    "evaluation": (
        rdf_tail,
        error_of_rdf,
        curves_of_equal_length,
        diffusion_matches_msd,
        finite_size("n_beads"),
        friction_fits_thermostat,
        score_of_parts,
        errors_of_scores,
    ),
}
