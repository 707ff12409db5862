"""Scores of a coarse-grained model against its atomistic liquid, their standard errors, and the table of means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from mobcg.errors import SimulationError
from mobcg.observables import rdf_error, rdf_r2, score
from mobcg.pair import R_NM

BOOTSTRAP_DRAWS = 400
RDF_FROM_NM = 0.1


@dataclass(frozen=True)
class Reference:
    """The atomistic liquid that a model is scored against: mean over its replicas, units as in `mobcg.schema`."""

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
    """Return the standard error of S = sqrt((e/0.1)² + (ln α/ln 2)²), to first order in those of e and α."""
    parts = error / 0.1, math.log(alpha) / math.log(2)
    part_errors = error_se / 0.1, alpha_se / alpha / math.log(2)
    total = math.hypot(*parts)
    if total == 0:
        return math.hypot(*part_errors)
    return math.hypot(*(part * part_se for part, part_se in zip(parts, part_errors, strict=True))) / total


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

    A standard error is that of the scatter over replicas, or the row's own where there is one replica only; α also
    carries the error of D_AA, which all replicas share.
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
        board[name], board[f"{name}_se"] = _mean_over_replicas(finished, name)
    if finished:
        shared = max(0.0, np.mean([_reference_variance(row) for row in finished]))
        board["alpha_se"] = (
            finished[0]["alpha_se"]
            if len(finished) == 1
            else math.hypot(board["alpha_se"], board["alpha"] * shared**0.5)
        )
        board["score"] = score(board["rdf_error"], board["alpha"])
        board["score_se"] = score_se(board["rdf_error"], board["rdf_error_se"], board["alpha"], board["alpha_se"])
    return board


def _mean_over_replicas(rows: list[dict[str, Any]], name: str) -> tuple[float | None, float | None]:
    known = [row for row in rows if row[name] is not None]
    if not known:
        return None, None
    values = np.array([row[name] for row in known])
    if len(values) == 1:
        return float(values[0]), known[0].get(f"{name}_se")
    return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)


def _reference_variance(row: dict[str, Any]) -> float:
    """Return the relative variance of D_AA that is part of a row's alpha_se."""
    return (row["alpha_se"] / row["alpha"]) ** 2 - (row["diffusion_nm2_ns_se"] / row["diffusion_nm2_ns"]) ** 2
