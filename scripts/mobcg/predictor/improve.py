r"""Active learning: which liquids of the prior to simulate next. `make improve`, round by round.

A round draws candidates from the prior (`mobcg.coarse.prior`), with the g(r) that an integral equation gives them, and
chooses those whose simulation is expected to lower the variance of the predicted potential at the molecular liquids
most. For a Gaussian process that is known before anything is run: a row at x lowers the variance at x_t by

    cov(x_t, x)² / (var(x) + noise),

so a candidate is worth something where the model is unsure, near the molecular liquids, and not next to one chosen
before (Cohn, Ghahramani and Jordan, J. Artif. Intell. Res. 4, 129 (1996)). Of the molecular liquids their g(r) is used
and nothing else: no potential, and no score.

The draws of a round are written to config/chosen/SCALE.yaml, where the plan finds them; Snakemake runs them; the model
is trained again, and measured on liquids of the validation side that no round added to. It ends when a round lowers the
error on the half of them nearest to the molecular liquids by less than `--stall`, or after `--rounds`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from mobcg.coarse.integral_equation import NoSolutionError, solve
from mobcg.coarse.prior import draw_liquid
from mobcg.config import chosen_path, load_chosen, read_config
from mobcg.database.splits import VALIDATION_FRACTION, rank
from mobcg.errors import InputError, SimulationError
from mobcg.plan import Plan, load_plan, prior_potentials
from mobcg.predictor.dataset import Liquids, States, read_liquids, structure_rows
from mobcg.predictor.features import describe
from mobcg.predictor.models.mobcg import DEFAULTS, Lesson, Model, potential_weights
from mobcg.predictor.process import Process, kernel, squared_distances
from mobcg.predictor.scoring import mean_reference
from mobcg.predictor.train import potential_error_kt
from mobcg.records import atomic_path, write_json
from mobcg.step import run_step
from mobcg.units import thermal_energy_kj_mol

# Share of the validation liquids, the nearest to the molecular ones, whose error decides when to stop.
NEAREST = 0.5
# Ranks up to here are left alone: above it no liquid validates, not even as the lowest of the few of a small scale.
LEAST_RANK = 2 * VALIDATION_FRACTION
# Random choices of the same size, whose mean gain stands beside that of the choice.
RANDOM_CHOICES = 20
HEADER = "# Liquids of the prior that `make improve SCALE={scale}` chose. Delete the file to do without them.\n"


@dataclass(frozen=True)
class Candidates:
    """Liquids that could be run: (n,) draws of the prior, and their states with the g(r) of an integral equation."""

    draws: NDArray[np.int64]
    states: States


@dataclass(frozen=True)
class Choice:
    """Which candidates to run, and the standard error at the targets, kT, now, then, and with as many random ones."""

    draws: list[int]
    error_kt: float
    expected_error_kt: float
    random_error_kt: float


def candidates(plan: Plan, first: int, count: int, report: Callable[[str], None]) -> Candidates:
    """Return the liquids among `count` draws of the prior from `first` on; those that would validate are left out.

    Raises
    ------
    InputError
        None is left.
    """
    shard = {**next(iter(plan.prior_shards.values())), "draws": list(range(first, first + count))}
    specs = prior_potentials(shard) if count > 0 else {}
    kept, states = [], []
    for number, (name, spec) in enumerate(specs.items(), 1):
        if number % 100 == 0:
            report(f"candidates: {number} of {count} drawn")
        drawn = draw_liquid(spec) if rank(name) > LEAST_RANK else None
        if drawn is None:
            continue
        density_nm3, potential = drawn
        temperature = spec["temperature_k"]
        try:
            rdf = solve(potential / thermal_energy_kj_mol(temperature), density_nm3).rdf
        except NoSolutionError:
            continue
        kept.append(spec["draw"])
        states.append((rdf, density_nm3, temperature))
    if not kept:
        allowed = "draws of the prior, one of them a liquid to learn from"
        raise InputError("--candidates", "", count, allowed, "Ask for more.")
    rdf, density, temperature = (np.array(values) for values in zip(*states, strict=True))
    # The integral equation is of the infinite liquid; mass and D play no part in the structure.
    ones = np.ones(len(kept))
    return Candidates(np.array(kept), States(rdf, density, temperature, 100 * ones, ones, np.inf * ones))


def molecular_liquids(plan: Plan, tables: Path) -> States:
    """Return the liquids of a plan that are scored, replicas averaged: their g(r) is all that counts here.

    Raises
    ------
    InputError
        None of them is finished.
    """
    rows = {row["run_id"]: row for row in pq.read_table(tables / "data/atomistic.parquet").to_pylist()}
    parents = dict.fromkeys(spec["parent_potential_id"] for spec in plan.evaluations.values())
    found = []
    for parent in parents:
        replicas = [rows[run] for run in plan.inversions[parent]["parent_run_ids"] if run in rows]
        try:
            found.append(mean_reference(replicas))
        except SimulationError:
            continue
    if not found:
        raise InputError(tables, "atomistic", "no finished liquid", "one at least, to improve the model for")
    names = ("rdf", "number_density_nm3", "temperature_k", "mass_g_mol", "diffusion_nm2_ns", "n_molecules")
    return States(*(np.array([getattr(one, name) for one in found], np.float64) for name in names))


def choose(
    process: Process, possible: NDArray, targets: NDArray, count: int, scale_kt: NDArray, seed: int
) -> tuple[list[int], float, float, float]:
    """Return the candidates to run, one after the other, and the errors of `Choice`.

    Parameters
    ----------
    process
        Of the structure, trained on all rows there are.
    possible, targets
        (m, c) and (t, c) scores of candidates and of molecular liquids.
    count
        How many to choose.
    scale_kt
        (t,): error of U, kT, of a target where the variance is 1.
    seed
        Of the random choices.
    """
    covariance = posterior_covariance(process, np.concatenate([targets, possible]))
    importance = scale_kt**2
    count = min(count, len(possible))

    def after(order: Sequence[int] | None) -> tuple[list[int], float]:
        left, chosen = covariance.copy(), []
        for step in range(count):
            variance = np.diag(left)[len(targets) :] + process.noise
            gain = importance @ (left[: len(targets), len(targets) :] ** 2) / variance
            gain[chosen] = -np.inf
            best = int(np.argmax(gain)) if order is None else int(order[step])
            chosen.append(best)
            column = left[:, len(targets) + best].copy()
            left -= np.outer(column, column) / variance[best]
        return chosen, _error(left, importance)

    random = np.random.default_rng(seed)
    chosen, expected = after(None)
    by_chance = [after(random.permutation(len(possible)))[1] for _ in range(RANDOM_CHOICES)]
    return chosen, _error(covariance, importance), expected, float(np.mean(by_chance))


def _error(covariance: NDArray, importance: NDArray) -> float:
    variances = np.maximum(np.diag(covariance)[: len(importance)], 0.0)
    return float(np.sqrt(np.mean(importance * variances)))


def posterior_covariance(process: Process, inputs: NDArray) -> NDArray[np.float64]:
    """Return the covariance (m, m) of the function at some inputs (m, c), given all rows that a process learned from.

    K_** − K_*ᵀ (K + noise)⁻¹ K_* (Rasmussen and Williams, Gaussian Processes for Machine Learning, eq. 2.24), in units
    of the signal variance.
    """
    rows = process.inputs, process.terms
    asked = inputs, np.zeros((len(inputs), process.terms.shape[1]))
    within = kernel(rows, rows, process.length_scale, process.trend)
    lower = cholesky(within + process.noise * np.diag(process.relative_noise.astype(np.float64)), lower=True)
    reduced = solve_triangular(lower, kernel(rows, asked, process.length_scale, process.trend), lower=True)
    return kernel(asked, asked, process.length_scale, process.trend) - reduced.T @ reduced


@dataclass(frozen=True)
class Round:
    """A model after so many rounds: what it learned from and how well it does."""

    liquids: int
    validation_error_kt: float
    near_validation_error_kt: float
    left_out_error_kt: float


def learn(liquids: Liquids, split: NDArray, later: set[str]) -> tuple[Lesson, Process, float]:
    """Return lesson, process and left-out error of the train rows but those of the `later` potentials."""
    lesson = Lesson.of(liquids.take((split == "train") & ~np.isin(liquids.potential_id, sorted(later))))
    process, left_out = lesson.learn(DEFAULTS)
    return lesson, process, left_out.score


def measure(lesson: Lesson, process: Process, left_out_kt: float, checked: Liquids, near: NDArray) -> Round:
    """Return how well a process does on the liquids `checked`, and on those of them that `near` marks."""
    arrays = {"basis.centre": lesson.basis.centre, "basis.axes": lesson.basis.axes, **process.arrays("structure")}
    model = Model({"processes": ["structure"]}, arrays)
    return Round(
        len(lesson.liquids),
        potential_error_kt(model, checked),
        potential_error_kt(model, checked.take(near)),
        left_out_kt,
    )


def nearest_half(checked: Liquids, targets: States, lesson: Lesson) -> NDArray[np.bool_]:
    """Return which liquids (n,) belong to the share `NEAREST` that lies nearest to one of the targets."""
    of_checked, of_targets = (lesson.basis.scores(describe(states).curves) for states in (checked, targets))
    distance = squared_distances(of_checked, of_targets).min(axis=1)
    return distance <= np.quantile(distance, NEAREST)


def propose_round(
    plan: Plan, lesson: Lesson, process: Process, targets: States, first: int, pool: int, count: int
) -> Choice:
    """Return `count` draws to run next, chosen from `pool` draws of the prior from `first` on."""
    possible = candidates(plan, first, pool, print)
    structure = describe(targets)
    weights = potential_weights(structure, targets.number_density_nm3)
    scale_kt = np.sqrt(np.sum(weights * process.error_scale**2, axis=1) / np.sum(weights, axis=1))
    of_possible = lesson.basis.scores(describe(possible.states).curves)
    chosen, *errors = choose(process, of_possible, lesson.basis.scores(structure.curves), count, scale_kt, first)
    return Choice(sorted(int(possible.draws[row]) for row in chosen), *errors)


def simulate_tables(plan: Plan, options: argparse.Namespace) -> Path:
    """Let Snakemake run what the tables of a plan lack, and return their directory.

    Raises
    ------
    subprocess.CalledProcessError
        Snakemake failed; what it said stands above.
    """
    tables = f"{plan.scale_dir}/tables"
    command = [sys.executable, "-m", "snakemake", "--profile", options.profile, "--cores", options.cores]
    command += ["--quiet", "rules", "--config", f"scale={options.scale}", *(options.config or [])]
    subprocess.run([*command, "--", tables], check=True)
    return Path(tables)


def history(plan: Plan, tables: Path, rounds: Sequence[Sequence[int]]) -> tuple[list[Round], Lesson, Process, States]:
    """Return how well the model did before the first round and after each, and the model of the last.

    Which liquids are checked does not change: those of the validation side that no round added. Nearness to the
    molecular liquids is judged by the first model.
    """
    liquids, split = read_liquids(tables, "all")
    targets = molecular_liquids(plan, tables)
    added = [chosen_potentials(plan, draws) for draws in rounds]
    validates = (split == "validation") & ~np.isin(liquids.potential_id, sorted(set().union(*added)))
    checked = structure_rows(liquids.take(validates))
    found: list[Round] = []
    for number in range(len(rounds) + 1):
        lesson, process, left_out_kt = learn(liquids, split, set().union(*added[number:]))
        if number == 0:
            near = nearest_half(checked, targets, lesson)
        found.append(measure(lesson, process, left_out_kt, checked, near))
    return found, lesson, process, targets


def chosen_potentials(plan: Plan, draws: Sequence[int]) -> set[str]:
    """Return the ids of the potentials of some draws of the prior."""
    return set(prior_potentials({**next(iter(plan.prior_shards.values())), "draws": list(draws)}))


def has_stalled(rounds: Sequence[Round], stall: float) -> bool:
    """Return whether the last round lowered the error near the molecular liquids by less than a share `stall`."""
    if len(rounds) < 2:
        return False
    before, after = (one.near_validation_error_kt for one in rounds[-2:])
    return after > (1 - stall) * before


def write_chosen(path: Path, scale_name: str, rounds: Sequence[Sequence[int]]) -> None:
    """Write the file of `mobcg.config.ChosenDraws`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = yaml.safe_dump({"rounds": [list(draws) for draws in rounds]}, default_flow_style=None, width=120)
    with atomic_path(path) as temporary:
        temporary.write_text(HEADER.format(scale=scale_name) + content, encoding="utf-8")


def improve(options: argparse.Namespace) -> list[Round]:
    """Run rounds until the error stalls; what was chosen and run before is gone on from.

    Raises
    ------
    InputError
        The scale has no prior, its tables cannot be learned from, none of the candidates can be run, or an option is no
        KEY=VALUE.
    subprocess.CalledProcessError
        Snakemake failed.
    """
    for pair in options.config or []:
        if "=" not in pair:
            raise InputError("--config", "", pair, "KEY=VALUE")
    content = read_config() | {"scale": options.scale}
    content |= dict(pair.split("=", 1) for pair in options.config or [])
    chosen: list[Choice] = []
    while True:
        plan = load_plan(content)
        if not plan.prior_shards:
            raise InputError(
                f"scale {plan.scale.name}", "prior.liquids", 0, "1 and more", "There is nothing to add to."
            )
        path = chosen_path(plan.scale.name)
        draws = load_chosen(path, plan.scale)
        tables = simulate_tables(plan, options)
        rounds, lesson, process, targets = history(plan, tables, draws)
        write_json(Path(plan.scale_dir) / "improve.json", _told(rounds, draws, chosen))
        _print(rounds)
        if has_stalled(rounds, options.stall):
            print(f"the last round lowered the error by less than {100 * options.stall:g} %: enough")
            return rounds
        if len(draws) >= options.rounds:
            print(f"{options.rounds} rounds are done; more of them with --rounds")
            return rounds
        first = 1 + max([plan.scale.prior.liquids - 1, *(draw for one in draws for draw in one)])
        chosen.append(propose_round(plan, lesson, process, targets, first, options.candidates, options.liquids))
        choice = chosen[-1]
        print(
            f"round {len(draws) + 1}: {len(choice.draws)} liquids chosen; standard error of U at the molecular liquids "
            f"{choice.error_kt:.4f} kT, then {choice.expected_error_kt:.4f}, with as many random liquids "
            f"{choice.random_error_kt:.4f}",
            flush=True,
        )
        write_chosen(path, plan.scale.name, [*draws, choice.draws])


def _told(rounds: Sequence[Round], draws: Sequence[Sequence[int]], chosen: Sequence[Choice]) -> dict[str, Any]:
    # Choices made by an earlier start are in the file of draws; their expectations are not known any more.
    unknown: list[Choice | None] = [None] * (len(draws) - len(chosen))
    return {
        "rounds": [asdict(one) for one in rounds],
        "choices": [None if one is None else asdict(one) for one in [*unknown, *chosen]],
    }


def _print(rounds: Sequence[Round]) -> None:
    print("round  liquids  error of U, kT: validation  its nearest half  parents left out")
    for number, one in enumerate(rounds):
        print(
            f"{number:5d}  {one.liquids:7d}  {one.validation_error_kt:26.4f}  {one.near_validation_error_kt:16.4f}  "
            f"{one.left_out_error_kt:16.4f}",
            flush=True,
        )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.predictor.improve", description=__doc__.split("\n")[0])
    parser.add_argument("--scale", required=True, help="a scale with liquids of the prior")
    parser.add_argument("--rounds", type=int, default=4, help="rounds in all, those of earlier starts counted")
    parser.add_argument("--liquids", type=int, default=50, help="liquids that a round adds")
    parser.add_argument("--candidates", type=int, default=500, help="draws of the prior that a round chooses from")
    parser.add_argument("--stall", type=float, default=0.02, help="the least share by which a round lowers the error")
    parser.add_argument("--profile", default="profiles/workstation", help="profile of Snakemake")
    parser.add_argument("--cores", default="all", help="cores for Snakemake")
    parser.add_argument("--config", nargs="*", metavar="KEY=VALUE", help="as for Snakemake")
    options = parser.parse_args(arguments)
    try:
        improve(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print("error: Snakemake failed, see above; the same command goes on from here", file=sys.stderr)
        return error.returncode
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))
