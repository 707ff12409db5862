"""The liquids of a release as the figures need them: atomistic reference and models, averaged over replicas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobcg.pair import R_NM
from mobcg.predictor.scoring import mean_over_replicas
from mobcg.report.release import Release, Row, liquid_names, pristine_runs
from mobcg.report.style import LOOKS
from mobcg.schema import MODELS

# Stands for the atomistic liquid itself where it is shown beside its models.
ALL_ATOM = "all_atom"


@dataclass(frozen=True)
class Curve:
    """A mean curve y(x) and the standard error of each point, all (n,)."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    y_se: NDArray[np.float64]


@dataclass(frozen=True)
class Variant:
    """A model of one liquid, or one scale factor of `ibi_scaled`, with the rows of its replicas."""

    model: str
    scale_factor: float
    rows: tuple[Row, ...]
    failed: tuple[Row, ...]

    @property
    def key(self) -> tuple[str, float]:
        """Model and scale factor."""
        return self.model, self.scale_factor

    @property
    def label(self) -> str:
        """Name as shown, the scale factor in it where there is one."""
        return variant_label(*self.key)


@dataclass(frozen=True)
class Liquid:
    """One liquid: its atomistic replicas with the unperturbed force field, and its models."""

    molecule_id: str
    name: str
    atomistic: tuple[Row, ...]
    variants: tuple[Variant, ...]

    def variant(self, model: str, scale_factor: float = 1.0) -> Variant | None:
        """Return a model that ran, None where it is missing or every replica failed."""
        return next((v for v in self.variants if v.key == (model, scale_factor) and v.rows), None)


def variant_label(model: str, scale_factor: float) -> str:
    """Return the name of a model as shown."""
    if model == ALL_ATOM:
        return "all-atom"
    if model == "mobcg" and scale_factor != 1:
        return f"{LOOKS[model].label}, knob × {scale_factor:g}"
    return f"IBI × {scale_factor:g}" if model == "ibi_scaled" else LOOKS[model].label


def is_own_choice(model: str, scale_factor: float) -> bool:
    """Return whether this is what the model proposes, not another setting of its knob."""
    return model != "mobcg" or scale_factor == 1


def liquids_of(release: Release) -> list[Liquid]:
    """Return the liquids that have an atomistic run or a scored model, by name."""
    names = liquid_names(release)
    references = pristine_runs(release)
    evaluated: dict[str, list[Row]] = {}
    for row in release.rows.get("evaluation", []):
        evaluated.setdefault(row["molecule_id"], []).append(row)
    return [
        Liquid(
            molecule_id,
            names.get(molecule_id, molecule_id),
            tuple(references.get(molecule_id, [])),
            tuple(_variants(evaluated.get(molecule_id, []))),
        )
        for molecule_id in sorted(references.keys() | evaluated.keys())
    ]


def _variants(rows: Iterable[Row]) -> list[Variant]:
    groups: dict[tuple[str, float], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["replica"]):
        groups.setdefault((row["model"], row["scale_factor"]), []).append(row)
    keys = sorted(groups, key=lambda key: (MODELS.index(key[0]), key[1]))
    return [
        Variant(
            *key,
            tuple(row for row in groups[key] if row["status"] == "ok"),
            tuple(row for row in groups[key] if row["status"] != "ok"),
        )
        for key in keys
    ]


def mean_rdf(rows: Sequence[Row]) -> Curve | None:
    """Return g(r) averaged over replicas, None without any; SE = max(sqrt(Σ SEᵢ²)/n, s/sqrt(n)), s their scatter."""
    known = [row for row in rows if row.get("rdf") is not None]
    if not known:
        return None
    errors = [np.zeros_like(R_NM) if row.get("rdf_se") is None else row["rdf_se"] for row in known]
    curves, count = np.array([row["rdf"] for row in known]), len(known)
    scatter = curves.std(axis=0, ddof=1) / np.sqrt(count) if count > 1 else np.zeros_like(R_NM)
    return Curve(R_NM, curves.mean(axis=0), np.maximum(np.linalg.norm(errors, axis=0) / count, scatter))


def mean_msd(rows: Sequence[Row]) -> Curve | None:
    """Return the MSD (nm²) over lag time (ps) averaged over replicas, on the lags of the first up to the shortest.

    The standard error comes from the scatter of the replicas and is nan where there is only one.
    """
    known = [row for row in rows if row.get("msd_nm2") is not None and row.get("msd_time_ps") is not None]
    if not known:
        return None
    times = known[0]["msd_time_ps"]
    times = times[times <= min(row["msd_time_ps"][-1] for row in known)]
    curves = [np.interp(times, row["msd_time_ps"], row["msd_nm2"]) for row in known]
    scatter = np.std(curves, axis=0, ddof=1) / len(curves) ** 0.5 if len(curves) > 1 else np.full_like(times, np.nan)
    return Curve(times, np.mean(curves, axis=0), scatter)


def mean_of(rows: Sequence[Row], name: str) -> tuple[float, float]:
    """Return `mobcg.predictor.scoring.mean_over_replicas` of a column, nan for what is not known."""
    mean, error = mean_over_replicas([row for row in rows if row.get(name) is None or np.isfinite(row[name])], name)
    return np.nan if mean is None else mean, np.nan if error is None else error


def structural_variants(liquid: Liquid) -> list[Variant]:
    """Return one model for each distinct g(r): a friction leaves g(r) alone, and scaled potentials are many."""
    families = (("ibi", "ibi_dpd", "ibi_langevin"), ("bag2024",), ("mobcg", "mobcg_dpd", "mobcg_langevin"))
    others = tuple((model,) for model in MODELS if model in ("pair_fm", "schnet", "hipnn"))
    found = []
    for family in families + others:
        present = [variant for model in family if (variant := liquid.variant(model))]
        found.extend(present[:1])
    return found
