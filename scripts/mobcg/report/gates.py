"""What a release must reach before it is published: `python -m mobcg.report.gates --release DIR`.

Prints what is asked, what is found, and whether it holds, one line each; exit status 1 where something does not. The
limits are those of the production protocol (scale `workstation`): a rough release does not pass, and need not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mobcg.errors import InputError
from mobcg.report.liquids import mean_of, mean_rdf
from mobcg.report.peers import Peer, read_peers, read_published_liquids
from mobcg.report.release import (
    Release,
    Row,
    force_field_kind,
    load_release,
    pristine_runs,
    reference_doubt,
    span,
)
from mobcg.report.scores import measured

LEAST_BOX_NM = 3.4
LEAST_PS = {"pristine": 1000.0, "synthetic": 400.0}
LEAST_REPLICAS = 2
LEAST_DRAWS = 12
LEAST_COARSE = 3000
LARGEST_DIFFUSION_SE = {"atomistic": 0.04, "coarse": 0.03}
LARGEST_PEAK_SE = 0.02
# Independent replicas differ by more than this many standard errors of their difference once in 370 times.
REPLICA_ERRORS = 3.0
LARGEST_DENSITY_DEVIATION = 0.05
LARGEST_ALPHA_RATIO = 1.3
LARGEST_BYTES = 40 * 10**6


@dataclass(frozen=True)
class Gate:
    """One requirement: what it is about, what is asked, what was found, whether it holds."""

    subject: str
    asked: str
    found: str
    holds: bool


def gates(release: Release, n_bytes: int, peers: Sequence[Peer]) -> list[Gate]:
    """Return every gate of a release.

    Parameters
    ----------
    n_bytes
        Size of the release directory.
    peers
        From `mobcg.report.peers.read_peers`.
    """
    pristine = pristine_runs(release)
    references = {row["molecule_id"]: row for row in release.rows.get("molecules", [])}
    found: list[Gate] = []
    for molecule in sorted(references):
        rows = pristine.get(molecule, [])
        found += _liquid(molecule, rows, references[molecule]) if rows else [_missing(molecule)]
    found += _larger_boxes(release, pristine)
    found += _synthetic(release, pristine)
    found += _inversions(release, pristine)
    found += _coarse(release, pristine)
    found += _alphas(release, pristine, peers)
    size = f"{n_bytes / 1e6:.1f} MB"
    return [*found, Gate("release", f"at most {LARGEST_BYTES / 1e6:.0f} MB", size, n_bytes <= LARGEST_BYTES)]


def _missing(molecule: str) -> Gate:
    return Gate(molecule, f"{LEAST_REPLICAS} replicas", "no atomistic run", False)


def _liquid(molecule: str, rows: Sequence[Row], about: Row) -> list[Gate]:
    edge, length = min(row["box_length_nm"] for row in rows), min(row["production_ps"] for row in rows)
    diffusion, diffusion_se = mean_of(rows, "diffusion_nm2_ns")
    density, density_se = mean_of(rows, "density_kg_m3")
    curve = mean_rdf(rows)
    peak_se = float(curve.y_se[np.argmax(curve.y)])
    settled = sum(row.get("density_settled") is not False for row in rows)
    found = [
        Gate(molecule, f"{LEAST_REPLICAS} replicas", f"{len(rows)}", len(rows) >= LEAST_REPLICAS),
        Gate(molecule, f"box of {LEAST_BOX_NM} nm", f"{edge:.2f} nm", edge >= LEAST_BOX_NM),
        Gate(molecule, f"{LEAST_PS['pristine']:.0f} ps", f"{length:.0f} ps", length >= LEAST_PS["pristine"]),
        Gate(molecule, "density settled in every replica", f"in {settled} of {len(rows)}", settled == len(rows)),
        _at_most(molecule, "relative SE of D", diffusion_se / diffusion, LARGEST_DIFFUSION_SE["atomistic"], "{:.1%}"),
        _at_most(molecule, "SE of g at its first peak", peak_se, LARGEST_PEAK_SE, "{:.3f}"),
        _replicas_agree(molecule, rows),
    ]
    reference = about.get("reference_density_kg_m3")
    if reference:
        doubt = reference_doubt(about)
        deviation = density / reference - 1
        asked = f"within {LARGEST_DENSITY_DEVIATION:.0%} of {reference:g} kg/m³"
        asked += {"": "", "metastable": " (metastable, not judged)"}.get(doubt, f" ({doubt})")
        text = f"{measured(density, density_se)} kg/m³ ({deviation:+.1%})".replace("-", "−")
        close = abs(deviation) <= LARGEST_DENSITY_DEVIATION or doubt == "metastable"
        found.append(Gate(molecule, asked, text, close))
    return found


def _at_most(subject: str, what: str, value: float, limit: float, form: str) -> Gate:
    return Gate(subject, f"{what} at most {form.format(limit)}", form.format(value), bool(value <= limit))


def _replicas_agree(molecule: str, rows: Sequence[Row]) -> Gate:
    """Compare D of every pair of replicas with the standard error of their difference."""
    values = np.array([row["diffusion_nm2_ns"] for row in rows])
    errors = np.array([row["diffusion_nm2_ns_se"] for row in rows])
    first, second = np.triu_indices(len(rows), 1)
    distance = np.abs(values[first] - values[second]) / np.hypot(errors[first], errors[second])
    largest = float(distance.max(initial=0.0))
    asked = f"D of replicas within {REPLICA_ERRORS:g} SE of each other"
    return Gate(molecule, asked, f"{largest:.1f} SE", largest <= REPLICA_ERRORS)


def _larger_boxes(release: Release, pristine: dict[str, list[Row]]) -> list[Gate]:
    """Compare D of runs in larger boxes with that of the replicas, both with the finite-size correction."""
    asked = f"corrected D of two box sizes within {REPLICA_ERRORS:g} SE"
    found = []
    for row in release.ok("atomistic"):
        replicas = pristine.get(row["molecule_id"], [])
        if force_field_kind(row) == "synthetic" or row["run_id"] in {other["run_id"] for other in replicas}:
            continue
        corrected, _ = mean_of(replicas, "diffusion_yh_nm2_ns")
        measured_d, measured_se = mean_of(replicas, "diffusion_nm2_ns")
        edge = np.mean([other["box_length_nm"] for other in replicas])
        # The correction is a factor for each number of molecules, of D and of its error.
        errors = measured_se * corrected / measured_d, _corrected_se(row)
        distance = abs(row["diffusion_yh_nm2_ns"] - corrected) / np.hypot(*errors)
        small = f"{corrected:.3f} from {measured_d:.3f} nm²/ns at {edge:.2f} nm"
        large = f"{row['diffusion_yh_nm2_ns']:.3f} from {row['diffusion_nm2_ns']:.3f} at {row['box_length_nm']:.2f} nm"
        text = f"{distance:.1f} SE: {small}, {large}"
        found.append(Gate(row["molecule_id"], asked, text, bool(distance <= REPLICA_ERRORS)))
    return found or [Gate("finite size", asked, "no run in a larger box", False)]


def _corrected_se(row: Row) -> float:
    return row["diffusion_nm2_ns_se"] * row["diffusion_yh_nm2_ns"] / row["diffusion_nm2_ns"]


def _synthetic(release: Release, pristine: dict[str, list[Row]]) -> list[Gate]:
    rows = [row for row in release.ok("atomistic") if force_field_kind(row) == "synthetic"]
    parents = sorted(row["molecule_id"] for row in release.rows.get("molecules", []) if row["role"] == "parent")
    counts = {parent: sum(row["molecule_id"] == parent for row in rows) for parent in parents}
    found = [
        Gate(parent, f"{LEAST_DRAWS} synthetic force fields", f"{count}", count >= LEAST_DRAWS)
        for parent, count in counts.items()
    ]
    if not rows or not pristine:
        return found
    length = min(row["production_ps"] for row in rows)
    asked = f"{LEAST_PS['synthetic']:.0f} ps"
    found.append(Gate("synthetic", asked, f"{length:.0f} ps", length >= LEAST_PS["synthetic"]))
    covered = _covered(rows, pristine)
    return [*found, Gate("synthetic", "D covers that of every liquid", *covered)]


def _covered(rows: Iterable[Row], pristine: dict[str, list[Row]]) -> tuple[str, bool]:
    values = [row["diffusion_nm2_ns"] for row in rows]
    wanted = [mean_of(runs, "diffusion_nm2_ns")[0] for runs in pristine.values()]
    ranges = f"{span(min(values), max(values), '.2g')} nm²/ns, liquids {span(min(wanted), max(wanted), '.2g')}"
    return ranges, min(values) <= min(wanted) and max(values) >= max(wanted)


def _inversions(release: Release, pristine: dict[str, list[Row]]) -> list[Gate]:
    potentials = [row for row in release.ok("potentials") if row["origin"] == "ibi"]
    done = {row["parent_id"] for row in potentials if row["pressure_corrected"]}
    uncorrected = {row["molecule_id"] for row in potentials if not row["pressure_corrected"]}
    targets = {run for row in potentials for run in row["parent_run_ids"] or ()}
    runs = release.ok("atomistic")
    wanted = {row["run_id"] for rows in pristine.values() for row in rows}
    wanted |= {row["run_id"] for row in runs if force_field_kind(row) == "synthetic"}
    without = wanted - targets
    liquids = pristine.keys()
    asked = "a pressure-corrected potential of every atomistic liquid"
    return [
        Gate("inversion", asked, f"{len(done)}; {len(without)} runs without", not without and bool(done)),
        Gate(
            "inversion",
            "the uncorrected potential of every pristine liquid",
            f"{len(uncorrected & liquids)} of {len(liquids)}",
            liquids <= uncorrected,
        ),
    ]


def _coarse(release: Release, pristine: dict[str, list[Row]]) -> list[Gate]:
    rows = release.ok("coarse")
    descended = sum(row["molecule_id"] is not None for row in rows)
    found = [Gate("coarse", f"{LEAST_COARSE} records of molecules", f"{descended}", descended >= LEAST_COARSE)]
    if not rows:
        return found
    relative = np.array([row["diffusion_nm2_ns_se"] / row["diffusion_nm2_ns"] for row in rows])
    what = "median relative SE of D"
    found.append(_at_most("coarse", what, float(np.median(relative)), LARGEST_DIFFUSION_SE["coarse"], "{:.1%}"))
    for thermostat in ("nose_hoover", "langevin", "dpd"):
        count = sum(row["thermostat"] == thermostat for row in rows)
        found.append(Gate("coarse", f"records with {thermostat}", f"{count}", count > 0))
    origin = {row["potential_id"]: row["origin"] for row in release.rows.get("potentials", [])}
    for kind in ("ibi", "scaled", "perturbed", "prior"):
        count = sum(origin.get(row["potential_id"]) == kind for row in rows)
        found.append(Gate("coarse", f"records of {kind} potentials", f"{count}", count > 0))
    if pristine:
        found.append(Gate("coarse", "D covers that of every liquid", *_covered(rows, pristine)))
    return found


def _alphas(release: Release, pristine: dict[str, list[Row]], peers: Sequence[Peer]) -> list[Gate]:
    """Compare α of IBI with that of the published atomistic targets, run the same way.

    α = D_CG / D_AA: where the two α differ, the atomistic liquids may be all that does. What explains it is that D of
    the coarse liquid, α D_AA, is the published one's within the same limit.
    """
    found = []
    published = {peer.molecule_id: peer.alpha for peer in peers if peer.model == "ibi"}
    theirs = read_published_liquids()
    for molecule in sorted({row["molecule_id"] for row in release.ok("evaluation")} & published.keys()):
        rows = [row for row in release.ok("evaluation") if (row["molecule_id"], row["model"]) == (molecule, "ibi")]
        alpha, alpha_se = mean_of(rows, "alpha")
        ratio, text = alpha / published[molecule], measured(alpha, alpha_se)
        close = _alike(ratio)
        if not close and molecule in theirs:
            atomistic = mean_of(pristine.get(molecule, []), "diffusion_nm2_ns")[0] / theirs[molecule].diffusion_nm2_ns
            text += (
                f", {ratio:.2f} times it: D_AA {atomistic:.2f} times and D of IBI {ratio * atomistic:.2f} times theirs"
            )
            close = _alike(ratio * atomistic)
        asked = f"α of IBI within {LARGEST_ALPHA_RATIO - 1:.0%} of {published[molecule]:g}, or explained"
        found.append(Gate(molecule, asked, text, close))
    return found


def _alike(ratio: float) -> bool:
    return bool(1 / LARGEST_ALPHA_RATIO <= ratio <= LARGEST_ALPHA_RATIO)


def markdown(found: Sequence[Gate]) -> str:
    """Return the gates as a Markdown table."""
    lines = ["| | asked | found | holds |", "|---|---|---|---|"]
    lines += [f"| {g.subject} | {g.asked} | {g.found} | {'yes' if g.holds else '**no**'} |" for g in found]
    return "\n".join(lines) + "\n"


def directory_bytes(directory: Path) -> int:
    """Return the size of all files of a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def main(arguments: list[str] | None = None) -> int:
    """Command line; exit status 1 where a gate does not hold."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.report.gates", description=__doc__.splitlines()[0])
    parser.add_argument("--release", type=Path, required=True, help="release directory")
    options = parser.parse_args(arguments)
    try:
        found = gates(load_release(options.release), directory_bytes(options.release), read_peers())
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(markdown(found), end="")
    return 0 if all(gate.holds for gate in found) else 1


if __name__ == "__main__":
    sys.exit(main())
