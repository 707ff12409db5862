"""Scores of a coarse-grained model against its atomistic liquid, their standard errors, and the table of means."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from mobcg.errors import SimulationError
from mobcg.observables import rdf_error, rdf_r2, score
from mobcg.pair import R_NM

BOOTSTRAP_DRAWS = 400
# Nodes of the Gauss-Hermite rule in each of e and ln α: SE(S) to 0.1 % even at the kink of S at α = 1.
SCORE_NODES = 32
RDF_FROM_NM = 0.1


@dataclass(frozen=True)
class Reference:
    """The atomistic liquid that a model is scored against, mean of its finished replicas; units as in `schema`."""

    run_ids: tuple[str, ...]
    mass_g_mol: float
    temperature_k: float
    number_density_nm3: float
    n_molecules: int
    diffusion_nm2_ns: float
    diffusion_nm2_ns_se: float
    rdf: NDArray[np.float64]
    rdf_se: NDArray[np.float64]


def mean_reference(records: list[Mapping[str, Any]]) -> Reference:
    """Return the mean of the finished replicas (rows of the table `atomistic`) of one liquid.

    The standard error of a mean is the larger of what the replicas' own errors and what their scatter say. Replicas
    whose NPT stages settled at slightly different densities count at their mean density.

    Raises
    ------
    SimulationError
        No replica finished, or they are not of one molecule, temperature and number of molecules.
    """
    finished = [record for record in records if record["status"] == "ok"]
    if not finished:
        reasons = "; ".join(str(record["reason"]) for record in records)
        raise SimulationError(f"no atomistic run of this liquid finished: {reasons}")
    same = {(record["molecule_id"], record["temperature_k"], record["n_molecules"]) for record in finished}
    if len(same) != 1:
        raise SimulationError(f"the atomistic records are of more than one liquid: {sorted(same)}")
    diffusion, diffusion_se = _mean(finished, "diffusion_nm2_ns")
    rdf, rdf_se = _mean(finished, "rdf")
    return Reference(
        run_ids=tuple(record["run_id"] for record in finished),
        mass_g_mol=finished[0]["mass_g_mol"],
        temperature_k=finished[0]["temperature_k"],
        number_density_nm3=float(np.mean([record["number_density_nm3"] for record in finished])),
        n_molecules=finished[0]["n_molecules"],
        diffusion_nm2_ns=float(diffusion),
        diffusion_nm2_ns_se=float(diffusion_se),
        rdf=rdf,
        rdf_se=rdf_se,
    )


def _mean(records: list[Mapping[str, Any]], name: str) -> tuple[NDArray, NDArray]:
    values = np.array([record[name] for record in records], np.float64)
    own = np.sqrt(np.sum(np.square([record[f"{name}_se"] for record in records]), axis=0)) / len(records)
    scatter = values.std(axis=0, ddof=1) / len(records) ** 0.5 if len(records) > 1 else np.zeros_like(own)
    return values.mean(axis=0), np.maximum(own, scatter)


def mobility(diffusion: float, diffusion_se: float, reference: float, reference_se: float) -> tuple[float, float]:
    """Return α = D/D_AA and its standard error, relative errors of both added in squares."""
    alpha = diffusion / reference
    return alpha, alpha * math.hypot(diffusion_se / diffusion, reference_se / reference)


def rdf_error_se(rdf: ArrayLike, rdf_se: ArrayLike, reference: ArrayLike, reference_se: ArrayLike, seed: int) -> float:
    """Return the standard error of `rdf_error`, by a parametric bootstrap of both curves from their block errors.

    Bins are drawn independently, so that noise shared by neighbouring bins is underestimated. The bias is another
    matter: noise alone makes e > 0, by `rdf_error_floor`, and it is not subtracted.
    """
    generator = np.random.default_rng(seed)
    g, g_se, r, r_se = (np.asarray(curve, np.float64) for curve in (rdf, rdf_se, reference, reference_se))
    draws = [
        rdf_error(g + g_se * generator.standard_normal(g.size), r + r_se * generator.standard_normal(r.size))
        for _ in range(BOOTSTRAP_DRAWS)
    ]
    return float(np.std(draws, ddof=1))


def rdf_error_floor(rdf_se: ArrayLike, reference: ArrayLike, reference_se: ArrayLike) -> float:
    """Return the `rdf_error` expected of a perfect model from sampling noise alone, Σ sqrt(2/π) σ / Σ g_AA."""
    inside = R_NM >= RDF_FROM_NM
    sigma = np.hypot(np.asarray(rdf_se), np.asarray(reference_se))[inside]
    return float(math.sqrt(2 / math.pi) * sigma.sum() / np.asarray(reference)[inside].sum())


def score_se(error: float, error_se: float, alpha: float, alpha_se: float) -> float:
    r"""Return the standard error of S = sqrt((e/0.1)² + (ln α/ln 2)²): by how much the errors of e and α change it.

    SE(S)² = ⟨[S(e + SE(e) x, ln α + (SE(α)/α) y) − S(e, ln α)]²⟩ over standard normal x and y, by Gauss–Hermite
    quadrature. Far from S = 0 it is the error to first order, which vanishes at α = 1, where S has its kink. S is
    never negative, so that noise raises it: that bias is part of this error and is not subtracted from S.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(SCORE_NODES)
    structure = (error + error_se * nodes[:, None]) / 0.1
    mobility_part = (math.log(alpha) + alpha_se / alpha * nodes) / math.log(2)
    squares = (np.hypot(structure, mobility_part) - score(error, alpha)) ** 2
    # einsum, not BLAS, whose last bit may differ from one process to the next.
    return float(np.sqrt(np.einsum("i,j,ij->", weights, weights, squares)) / weights.sum())


def scores(measured: Mapping[str, Any], reference: Reference, seed: int) -> dict[str, float]:
    """Return the score columns of the table `evaluation` for one measured run (see `mobcg.coarse.simulate.measure`)."""
    alpha, alpha_se = mobility(
        measured["diffusion_nm2_ns"],
        measured["diffusion_nm2_ns_se"],
        reference.diffusion_nm2_ns,
        reference.diffusion_nm2_ns_se,
    )
    error = rdf_error(measured["rdf"], reference.rdf)
    error_se = rdf_error_se(measured["rdf"], measured["rdf_se"], reference.rdf, reference.rdf_se, seed)
    return {
        "alpha": alpha,
        "alpha_se": alpha_se,
        "rdf_error": error,
        "rdf_error_se": error_se,
        "rdf_r2": rdf_r2(measured["rdf"], reference.rdf),
        "score": score(error, alpha),
        "score_se": score_se(error, error_se, alpha, alpha_se),
    }


MEANS = ("alpha", "rdf_error", "rdf_r2", "pressure_bar", "density_1atm_kg_m3", "friction_1_ps")


def scoreboard(table: pa.Table) -> pa.Table:
    """Return one row for each molecule, model and scale factor of the table `evaluation`: means over replicas.

    Columns: molecule_id, model, scale_factor, thermostat, replicas (finished), failed, then the mean and standard error
    of α, rdf_error, R², pressure, density at 1 atm and friction, and S of the mean α and mean rdf_error with its own
    error; `best` marks the smallest S of a molecule and model, hence the best factor of ibi_scaled. Null where nothing
    finished. Of mobcg, whose other factors show its knob, `best` is factor 1 whatever they do: its own choice, made
    before any run.

    Standard errors are those of `mean_over_replicas`, that of S follows from those of e and α by `score_se`.
    """
    groups: dict[tuple[str, str, float], list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        groups.setdefault((row["molecule_id"], row["model"], row["scale_factor"]), []).append(row)
    rows = [_board_row(key, members) for key, members in sorted(groups.items())]
    best: dict[tuple[str, str], float] = {}
    for row in rows:
        if row["score"] is not None and _stands_for_its_model(row):
            name = row["molecule_id"], row["model"]
            best[name] = min(best.get(name, math.inf), row["score"])
    for row in rows:
        name = row["molecule_id"], row["model"]
        row["best"] = row["score"] is not None and _stands_for_its_model(row) and row["score"] == best[name]
    return pa.Table.from_pylist(rows, schema=BOARD_SCHEMA)


def _stands_for_its_model(row: Mapping[str, Any]) -> bool:
    return row["model"] != "mobcg" or row["scale_factor"] == 1


BOARD_SCHEMA = pa.schema(
    [
        ("molecule_id", pa.string()),
        ("model", pa.string()),
        ("scale_factor", pa.float64()),
        ("thermostat", pa.string()),
        ("replicas", pa.int64()),
        ("failed", pa.int64()),
        *((f"{name}{ending}", pa.float64()) for name in (*MEANS, "score") for ending in ("", "_se")),
        ("best", pa.bool_()),
    ]
)


def _board_row(key: tuple[str, str, float], members: list[dict[str, Any]]) -> dict[str, Any]:
    finished = [row for row in members if row["status"] == "ok"]
    board: dict[str, Any] = dict(zip(("molecule_id", "model", "scale_factor"), key, strict=True))
    board |= {
        "replicas": len(finished),
        "failed": len(members) - len(finished),
        "thermostat": finished[0]["thermostat"] if finished else None,
        "score": None,
    }
    for name in MEANS:
        board[name], board[f"{name}_se"] = mean_over_replicas(finished, name)
    if finished:
        error_se, alpha_se = (board[f"{name}_se"] or 0.0 for name in ("rdf_error", "alpha"))
        board["score"] = score(board["rdf_error"], board["alpha"])
        board["score_se"] = score_se(board["rdf_error"], error_se, board["alpha"], alpha_se)
    return board


def mean_over_replicas(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[float | None, float | None]:
    """Return mean and standard error of a column over n replicas that are independent runs; None where not known.

    SE = max(sqrt(Σ SEᵢ²)/n, s/sqrt(n)), s the standard deviation of the replicas: the scatter of two or three alone is
    too often small by chance. What all replicas share does not shrink with n: of α it is the error of D_AA,
    SE² = max(…)² + (α SE(D_AA)/D_AA)² with the error of the replicas' own D in the maximum; of e it is the noise of
    g_AA, most of SEᵢ, which the rows do not tell apart, so that SE = max(mean of SEᵢ, s/sqrt(n)).
    """
    known = [row for row in rows if row.get(name) is not None]
    if not known:
        return None, None
    values = np.array([row[name] for row in known], np.float64)
    own = np.array([row.get(f"{name}_se") or 0.0 for row in known])
    scatter, shared = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0, 0.0
    if name == "alpha":
        relative = np.array([row["diffusion_nm2_ns_se"] / row["diffusion_nm2_ns"] for row in known])
        shared = values.mean() * max(0.0, np.mean((own / values) ** 2 - relative**2)) ** 0.5
        own = values * relative
    combined = own.mean() if name == "rdf_error" else np.linalg.norm(own) / len(own)
    return float(values.mean()), float(np.hypot(max(combined, scatter), shared)) or None
