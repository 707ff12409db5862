"""The results page: `python -m mobcg.report.results --release DIR --out docs` writes results.md and results/*.png.

Scores of every model, the peers of `mobcg.report.peers` beside them, where ours are worse, and the quality gates; every
number comes from the release or from peers.csv.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mobcg.errors import InputError
from mobcg.observables import score as score_of
from mobcg.records import atomic_path
from mobcg.report import gates as gates_of
from mobcg.report.liquids import is_own_choice, mean_of, mean_rdf, variant_label
from mobcg.report.make import exhibits, scored
from mobcg.report.peers import Peer, read_peers, read_published_liquids
from mobcg.report.release import Release, pristine_runs
from mobcg.report.scores import ERRORS, TIE_ERRORS, Score, Summary, mark, measured
from mobcg.report.style import Exhibit, drawing, save_png

FIGURES = ("scoreboard", "plane", "rdf", "density", "convergence", "mass_law", "diffusion", "neighbours", "overview")
PEER_LABELS = {"ibi": "IBI", "published": "published network"}
OURS = ("mobcg", "mobcg_dpd", "mobcg_langevin")
# Models with potentials of their own: with frictions that of IBI is the same, and nearly so that of mobcg.
DENSITY_MODELS = ("ibi", "bag2024", "mobcg", "mobcg_dpd")
NEAR_DENSITY = 0.02


def page(
    release: Release,
    scores: Sequence[Score],
    summaries: Sequence[Summary],
    peers: Sequence[Peer],
    gates: Sequence[gates_of.Gate],
    shown: Sequence[Exhibit],
) -> str:
    """Return the page as Markdown; figures are looked for in results/ beside it."""
    parts = [
        f"# Results of release {release.name}\n",
        f"Made by `python -m mobcg.report.results --release releases/{release.name} --out docs`. Means ± standard "
        "errors over replicas, at the density of the atomistic (AA) liquid: α = D/D_AA, structure error "
        "e = ∫|g − g_AA| dr / ∫ g_AA dr, S = sqrt((e/0.1)² + (ln α/ln 2)²) of these means, smaller is better. "
        f"{ERRORS}\n",
        "## Means over the liquids\n",
        _means(summaries),
        "## Beside what exists\n",
        "Peers: the potentials that the authors of the published network deposited, IBI against their g(r), and IBI "
        "times a constant (of 1.2, 1.5 and 1.8 the one with the smallest S), all run in one way: 1000 beads, NVT at "
        "the published AA density, against the published g(r) and D; α to 3 to 5 %, e to 0.005. Ours stand against "
        "our own AA liquids.\n",
        _beside(scores, peers),
        "## Where ours is worse\n",
        _worse(scores, peers),
        "## Density at 1 atm\n",
        "Deviations of the density at constant pressure from that of the atomistic liquid; in brackets the pressure at "
        "the density of the atomistic liquid. Soft liquids are compressible: a few percent are a few tens of bar.\n",
        _densities(release, scores),
        "## Our atomistic liquids and the published ones\n",
        "α = D_CG/D_AA differs from the published one as far as D of the coarse liquid or D of the atomistic liquid "
        "does. In brackets: times the published value; of α and D of IBI, times that of IBI against the published "
        "g(r), the peer above.\n",
        _atomistic(release, scores, peers),
    ]
    for exhibit in shown:
        parts += [f"## {exhibit.title}\n", f"![{exhibit.title}](results/{exhibit.name}.png)\n", f"{exhibit.seen}\n"]
        parts += [f"- {note}\n" for note in exhibit.notes]
    parts += ["## What was asked of this release\n", gates_of.markdown(gates)]
    return "\n".join(parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _means(summaries: Sequence[Summary]) -> str:
    if not summaries:
        return "No model was scored.\n"
    rows = [
        [
            f"**{s.label}**" if s.best else s.label,
            str(s.liquids),
            measured(s.alpha, s.alpha_se),
            measured(s.rdf_error, s.rdf_error_se),
            measured(s.score, s.score_se),
            mark(s),
        ]
        for s in summaries
    ]
    return _table(("model", "liquids", "α (geometric)", "e", "S", ""), rows)


def _best(scores: Sequence[Score], molecule: str, model: str) -> Score | None:
    """Return the smallest S of a model of a liquid, over its scale factors; of mobcg its own choice, made before."""
    own = [s for s in scores if (s.molecule_id, s.model) == (molecule, model) and is_own_choice(*s.key)]
    usable = [s for s in own if np.isfinite(s.score)]
    return min(usable, key=lambda s: s.score, default=None)


def _peers_of(peers: Sequence[Peer], molecule: str) -> dict[str, Peer]:
    """Return label → peer of a liquid: IBI, the published network, and the best of IBI times a constant."""
    own = [peer for peer in peers if peer.molecule_id == molecule]
    found = {PEER_LABELS[peer.model]: peer for peer in own if peer.model in PEER_LABELS}
    scaled = [peer for peer in own if peer.model not in PEER_LABELS]
    if scaled:
        best = min(scaled, key=_peer_score)
        found[best.model.replace("ibi", "IBI").replace(" x ", " × ")] = best
    return found


def _peer_score(peer: Peer) -> float:
    return score_of(peer.rdf_error, peer.alpha)


def _beside(scores: Sequence[Score], peers: Sequence[Peer]) -> str:
    rows = []
    for molecule, liquid in dict.fromkeys((s.molecule_id, s.liquid) for s in scores):
        for label, peer in _peers_of(peers, molecule).items():
            numbers = (f"{peer.alpha:.3g}", f"{peer.rdf_error:.3f}", f"{_peer_score(peer):.2f}")
            rows.append([liquid, f"peer: {label}", *numbers])
        for model in dict.fromkeys(s.model for s in scores):
            best = _best(scores, molecule, model)
            if best is not None:
                values = (best.alpha, best.alpha_se), (best.rdf_error, best.rdf_error_se), (best.score, best.score_se)
                rows.append([liquid, best.label, *(measured(*value) for value in values)])
    return _table(("liquid", "model", "α", "e", "S"), rows) if rows else "No model was scored.\n"


def _worse(scores: Sequence[Score], peers: Sequence[Peer]) -> str:
    """Name each liquid in which a model of ours has a larger S than a peer's or than our own IBI."""
    lines = []
    for model in (model for model in OURS if any(s.model == model for s in scores)):
        for molecule, liquid in dict.fromkeys((s.molecule_id, s.liquid) for s in scores):
            ours = _best(scores, molecule, model)
            if ours is None:
                lines.append(f"- {liquid}: {variant_label(model, 1.0)} has no score, every replica failed.")
                continue
            better = [f"{label} ({_peer_score(p):.2f})" for label, p in _peers_of(peers, molecule).items()
                      if _peer_score(p) < ours.score]  # fmt: skip
            own = _best(scores, molecule, "ibi")
            if own is not None and own.score < ours.score - TIE_ERRORS * np.hypot(own.score_se, ours.score_se):
                better.append(f"our own IBI ({own.score:.2f})")
            if better:
                lines.append(
                    f"- {liquid}: {ours.label}, S = {measured(ours.score, ours.score_se)}: {', '.join(better)}."
                )
    return "\n".join(lines or ["Nowhere, by S."]) + "\n"


def _densities(release: Release, scores: Sequence[Score]) -> str:
    """Set the density at 1 atm of each potential beside that of the atomistic liquid, and count those near it."""
    of_liquid = {molecule: mean_of(runs, "density_kg_m3") for molecule, runs in pristine_runs(release).items()}
    models = [model for model in DENSITY_MODELS if any(s.model == model for s in scores)]
    rows, near = [], {model: [] for model in models}
    for molecule, liquid in dict.fromkeys((s.molecule_id, s.liquid) for s in scores):
        cells = []
        for model in models:
            best, reference = _best(scores, molecule, model), of_liquid.get(molecule, (np.nan, np.nan))
            if best is None or not np.isfinite(best.density_1atm_kg_m3 / reference[0]):
                cells.append("–")
                continue
            deviation = best.density_1atm_kg_m3 / reference[0] - 1
            error = np.hypot(best.density_1atm_kg_m3_se, reference[1]) / reference[0]
            near[model].append(abs(deviation) <= NEAR_DENSITY)
            bars = measured(best.pressure_bar, best.pressure_bar_se)
            cells.append(f"{measured(100 * deviation, 100 * error)} % ({bars} bar)")
        rows.append([liquid, *cells])
    if not models:
        return "No model was scored.\n"
    counts = ", ".join(f"{variant_label(model, 1.0)} in {sum(near[model])} of {len(near[model])}" for model in models)
    table = _table(("liquid", *(variant_label(model, 1.0) for model in models)), rows)
    return f"{table}\nWithin {NEAR_DENSITY:.0%}: {counts} liquids that have a density at 1 atm.\n"


def _atomistic(release: Release, scores: Sequence[Score], peers: Sequence[Peer]) -> str:
    """Set density, D and highest g(r) of our liquids beside those published, and what follows for α of IBI."""
    published, rows = read_published_liquids(), []
    for molecule, runs in pristine_runs(release).items():
        if molecule not in published:
            continue
        theirs = published[molecule]
        density, diffusion = mean_of(runs, "density_kg_m3"), mean_of(runs, "diffusion_nm2_ns")
        curve, ibi = mean_rdf(runs), _best(scores, molecule, "ibi")
        peak = int(np.argmax(curve.y))
        peer = next((peer.alpha for peer in peers if (peer.molecule_id, peer.model) == (molecule, "ibi")), np.nan)
        ratio = np.nan if ibi is None else ibi.alpha / peer
        atomistic = diffusion[0] / theirs.diffusion_nm2_ns
        rows.append(
            [
                molecule,
                _times(measured(*density), density[0] / theirs.density_kg_m3),
                _times(measured(*diffusion), atomistic),
                _times(measured(float(curve.y[peak]), float(curve.y_se[peak])), float(curve.y[peak]) / theirs.rdf_peak),
                "–" if ibi is None else _times(measured(ibi.alpha, ibi.alpha_se), ratio),
                "–" if ibi is None else f"({ratio * atomistic:.2f})",
            ]
        )
    head = ("liquid", "density (kg/m³)", "D_AA (nm²/ns)", "highest g(r)", "α of IBI", "D of IBI")
    return _table(head, rows) if rows else "No liquid of this release was published before.\n"


def _times(text: str, ratio: float) -> str:
    return f"{text} ({ratio:.2f})"


def make_results(release_dir: Path, out: Path) -> None:
    """Write `out`/results.md and `out`/results/<figure>.png of a release.

    Raises
    ------
    InputError
        `release_dir` holds no release.
    """
    release, liquids, scores, summaries = scored(release_dir)
    made = exhibits(release, liquids, scores, summaries)
    shown = [made[name] for name in FIGURES]
    for exhibit in shown:
        with drawing():
            save_png(exhibit.figure, out / "results" / f"{exhibit.name}.png")
    peers = read_peers()
    gates = gates_of.gates(release, gates_of.directory_bytes(release_dir), peers)
    with atomic_path(out / "results.md") as temporary:
        temporary.write_text(page(release, scores, summaries, peers, gates, shown), encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.report.results", description=__doc__.splitlines()[0])
    parser.add_argument("--release", type=Path, required=True, help="release directory")
    parser.add_argument("--out", type=Path, required=True, help="directory of results.md, such as docs")
    options = parser.parse_args(arguments)
    try:
        make_results(options.release, options.out)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
