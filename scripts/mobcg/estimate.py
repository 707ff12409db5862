"""What a plan costs before anyone submits it: core time, disk and jobs by rule, and the wall time on so many cores.

Costs grow with what a job simulates (atoms × picoseconds, beads × picoseconds, rows × epochs); how fast that is on a
machine are the `Rates`: given, or measured from the benchmarks that Snakemake left in an earlier run on that machine.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from mobcg.config import NETWORK_SETTINGS
from mobcg.errors import InputError
from mobcg.jobs import TARGETS, Job, workflow_jobs
from mobcg.plan import Plan, Spec, canonical_json, expand_shard
from mobcg.units import FS_PER_PS, number_density_nm3

# Measured on a workstation (GROMACS 2022.5 with SSE4.1, LAMMPS of September 2021) with the scale quick, both its cores
# at work. Seconds: start of a step (imports, files), of VOTCA's own scripts in each iteration, of the start of a
# coarse run, of one record in the tables.
STEP_START_S = 2.0
VOTCA_ITERATION_S = 3.0
RUN_START_S = 0.3
RECORD_S = 0.02
# Steps of half the length and minimisation; blocks until the density has settled.
SQUEEZE_FACTOR = 2
NPT_BLOCKS = 3.2
REFERENCE_DENSITY_NM3 = 5.0
# An iteration runs at 5 fs in place of 12 and starts with a tenth of its length; most inversions use all iterations.
ITERATION_FACTOR = 2.6
# Cost of a step over that of Nosé-Hoover dynamics; friction also shortens the step.
THERMOSTAT_FACTOR = {"nose_hoover": 1.0, "langevin": 1.2, "dpd": 2.5}
# One molecule in one frame of the analysis; one batch of the published networks, forward and back; one liquid cubed of
# the Gaussian process, for all its trials.
FRAME_S = 4e-6
BATCH_S, BATCH_ROWS, NETWORKS = 5e-3, 32, 2
GAUSSIAN_PROCESS_S = 2.5e-9
ROW_S = 1e-3

# A bead in a frame of a training, forward and back, and in a step of dynamics: networks of the default size, one bead a
# molecule, one core. Of their cost this share grows with the pairs within the cutoff. LAMMPS runs pair potentials at
# constant temperature, the engine of the networks those at constant energy.
LEARN_S = {"pair_fm": 8e-5, "schnet": 6e-5, "hipnn": 1.8e-4}
FIELD_S = {"schnet": 3e-5, "hipnn": 4.5e-5}
PAIRS_SHARE = 0.7
LAMMPS_S, TABLE_S = 1e-6, 1.7e-5
# Time steps: of one bead a molecule, and where a bond between beads of a molecule is the fastest vibration, which is
# benzene's as three beads.
FIELD_STEP_FS, BONDED_STEP_FS = 9.0, 1.7
# Configurations that centres of mass are held at; before each 5 ps are discarded, and four of them follow 10 ps free.
HELD_RUNS, HELD_EXTRA_PS = 6, 5 + 10 * 4 / 6
FIELD_BYTES = 3e5

# What starting a job costs beside the step itself: Snakemake alone, and with a scheduler between.
LOCAL_JOB_S, CLUSTER_JOB_S = 0.5, 6.0

# Bytes, from the finished runs of the scale quick.
BEAD_FRAME_BYTES = 22
PACKED_FRAME_BYTES = 11  # as published: rounded, and once more beside the release
ATOM_BYTES, PICOSECOND_BYTES, RUN_BYTES = 210, 230, 0.17e6
ATOM_FRAME_BYTES = 4.06  # of the positions that `keep_trajectories: all` keeps
TRAJECTORY_FRAME_BYTES = 25.2  # positions, forces, and velocities in every tenth frame, of an atom
INVERSION_BYTES, ITERATION_BYTES = 30e3, 15e3
DUMP_BYTES, DUMP_FRAMES_1_PS = 30, 4
TEXT_FRAME_BYTES, FRAMES_1_PS_100 = 27, 1 / 0.72
RECORD_BYTES = 25e3
ROW_BYTES = 10e3
NETWORK_BYTES, LIQUID_BYTES = 1.53e6, 2e3
REPORT_BYTES = 2e6


@dataclass(frozen=True)
class Rates:
    """How fast a machine is.

    Attributes
    ----------
    atomistic_ns_day
        Nanoseconds a day of one core with 1000 atoms at 2 fs (GROMACS, PME).
    coarse_ns_day
        Nanoseconds a day of one core with 1000 beads of 100 g/mol, 5 in a nm³, at 12 fs (LAMMPS, table, no friction).
    factors
        Rule → measured over expected time of its jobs; 1 where it is not in there.
    measured
        Rule → number of jobs behind that factor.
    """

    atomistic_ns_day: float = 185.0
    coarse_ns_day: float = 2450.0
    factors: Mapping[str, float] = field(default_factory=dict)
    measured: Mapping[str, int] = field(default_factory=dict)

    @property
    def s_ps_atom(self) -> float:
        """Seconds a picosecond and atom."""
        return 86.4 / self.atomistic_ns_day / 1000

    @property
    def s_ps_bead(self) -> float:
        """Seconds a picosecond and bead."""
        return 86.4 / self.coarse_ns_day / 1000


@dataclass(frozen=True)
class Cost:
    """What one job needs: core time (s), disk that it keeps and disk only while it runs (bytes); no job uses a GPU."""

    seconds: float
    kept_bytes: float = 0.0
    scratch_bytes: float = 0.0


@dataclass(frozen=True)
class _Asked:
    """A plan on a machine, and what the costs of several jobs need of it."""

    plan: Plan
    rates: Rates

    @cached_property
    def runs(self) -> dict[str, list[Spec]]:
        """Shard → its coarse runs."""
        return {name: expand_shard(shard) for name, shard in (self.plan.shards | self.plan.prior_shards).items()}

    @cached_property
    def rows(self) -> int:
        """Coarse runs of the whole plan."""
        return sum(map(len, self.runs.values()))

    @cached_property
    def structures(self) -> tuple[int, int]:
        """Coarse runs without friction, which networks learn from, and how many potentials they have between them."""
        free = [spec for specs in self.runs.values() for spec in specs if spec["thermostat"] == "nose_hoover"]
        return len(free), len({canonical_json(spec["potential"]) for spec in free})

    def s_ps_bead(self, potential_id: str, thermostat: str = "nose_hoover") -> float:
        """Seconds a picosecond and bead with a potential; they grow with the neighbours, so with the density."""
        density_nm3 = REFERENCE_DENSITY_NM3  # of a liquid of the prior, on average
        if potential_id in self.plan.inversions:
            molecule_id = self.plan.inversions[potential_id]["molecule_id"]
            density = self.plan.molecules[molecule_id].reference_density_kg_m3
            density_nm3 = number_density_nm3(density, self.plan.species[molecule_id].molar_mass_g_mol)
        return self.rates.s_ps_bead * THERMOSTAT_FACTOR[thermostat] * density_nm3 / REFERENCE_DENSITY_NM3


def job_costs(plan: Plan, rates: Rates | None = None, target: str = "all") -> list[tuple[Job, Cost]]:
    """Return the jobs of a target of a plan with what each is expected to cost."""
    rates = rates or Rates()
    asked = _Asked(plan, rates)
    costs = []
    for job in workflow_jobs(plan, target):
        cost = COSTS[job.rule](asked, job.key)
        costs.append((job, replace(cost, seconds=cost.seconds * rates.factors.get(job.rule, 1.0))))
    return costs


def job_seconds(plan: Plan, rates: Rates | None = None, target: str = "all") -> dict[str, list[float]]:
    """Return rule → expected core seconds of each of its jobs; reused records cost nothing."""
    seconds: dict[str, list[float]] = {rule: [] for rule in COSTS}
    for job, cost in job_costs(plan, rates, target):
        seconds[job.rule].append(cost.seconds)
    return seconds


def _simulate_atomistic(asked: _Asked, run: str) -> Cost:
    spec = asked.plan.atomistic_spec(run)
    lengths, n_molecules = spec["lengths"], spec["n_molecules"]
    n_atoms = n_molecules * asked.plan.species[spec["molecule"]["id"]].n_atoms
    # A density that is asked for needs no NPT, but equilibration for the time of one block.
    blocks = 1 if "density_kg_m3" in spec else min(NPT_BLOCKS, lengths["npt_max_ps"] / lengths["npt_block_ps"])
    settling_ps = blocks * lengths["npt_block_ps"] + lengths["nvt_equilibration_ps"]
    picoseconds = SQUEEZE_FACTOR * lengths["squeeze_ps"] + settling_ps + lengths["nvt_ps"]
    frames = lengths["nvt_ps"] / spec["frame_ps"]
    kept = RUN_BYTES + ATOM_BYTES * n_atoms + PICOSECOND_BYTES * lengths["nvt_ps"]
    keep = asked.plan.config.keep_trajectories
    kept += BEAD_FRAME_BYTES * n_molecules * _beads_per_molecule(spec) * frames * (keep != "none")
    kept += ATOM_FRAME_BYTES * n_atoms * frames * (keep == "all")
    seconds = 2 * STEP_START_S + asked.rates.s_ps_atom * n_atoms * picoseconds
    return Cost(seconds, kept, TRAJECTORY_FRAME_BYTES * n_atoms * frames)


def _observe_atomistic(asked: _Asked, run: str) -> Cost:
    spec = asked.plan.atomistic_spec(run)
    frames = spec["lengths"]["nvt_ps"] / spec["frame_ps"]
    return Cost(STEP_START_S + FRAME_S * spec["n_molecules"] * frames, RECORD_BYTES)


def _pack_trajectory(asked: _Asked, run: str) -> Cost:
    spec = asked.plan.atomistic[run]
    bead_frames = spec["n_molecules"] * spec["lengths"]["nvt_ps"] / spec["frame_ps"]
    return Cost(STEP_START_S + FRAME_S * bead_frames, 2 * PACKED_FRAME_BYTES * bead_frames)


def _restore_trajectory(asked: _Asked, run: str) -> Cost:
    spec = asked.plan.atomistic[run]
    bead_frames = spec["n_molecules"] * spec["lengths"]["nvt_ps"] / spec["frame_ps"]
    return Cost(STEP_START_S + FRAME_S * bead_frames, BEAD_FRAME_BYTES * bead_frames)


def _invert(asked: _Asked, name: str) -> Cost:
    spec = asked.plan.inversion_spec(name)
    n_beads = asked.plan.atomistic_spec(spec["parent_run_ids"][0])["n_molecules"]
    length_ps = spec["iteration_ps_100"]
    iteration_s = VOTCA_ITERATION_S + ITERATION_FACTOR * asked.s_ps_bead(name) * n_beads * length_ps
    kept = INVERSION_BYTES + ITERATION_BYTES * spec["iterations_max"]
    dump = DUMP_BYTES * DUMP_FRAMES_1_PS * n_beads * length_ps
    return Cost(STEP_START_S + spec["iterations_max"] * iteration_s, kept, dump)


def _coarse_s(section: Spec, n_beads: float, s_ps_bead: float) -> float:
    length_ps = section["equilibration_ps_100"] + section["production_ps_100"]
    analysis_s = FRAME_S * n_beads * FRAMES_1_PS_100 * section["production_ps_100"]
    return RUN_START_S + analysis_s + s_ps_bead * n_beads * length_ps


def _frames_bytes(section: Spec, n_beads: float) -> float:
    return TEXT_FRAME_BYTES * FRAMES_1_PS_100 * n_beads * section["production_ps_100"]


def _simulate_shard(asked: _Asked, name: str) -> Cost:
    specs = asked.runs[name]
    seconds = sum(
        _coarse_s(spec, spec["n_beads"], asked.s_ps_bead(spec["potential"]["parent_id"], spec["thermostat"]))
        for spec in specs
    )
    scratch = max(_frames_bytes(spec, spec["n_beads"]) for spec in specs)
    return Cost(STEP_START_S + seconds, len(specs) * RECORD_BYTES, scratch)


def _evaluate(asked: _Asked, key: str) -> Cost:
    spec, model = asked.plan.evaluations[key], key.partition(".")[2]
    parent_id = spec["parent_potential_id"]
    n_beads = asked.plan.atomistic[asked.plan.parent_runs(parent_id)[0]]["n_molecules"]
    named = model.rpartition("_")[2]
    free_s = _coarse_s(spec, n_beads, asked.s_ps_bead(parent_id))
    nvt_s = _coarse_s(spec, n_beads, asked.s_ps_bead(parent_id, named)) if named in THERMOSTAT_FACTOR else free_s
    npt_ps = spec["equilibration_ps_100"] + spec["npt_ps_100"] if spec["npt_ps_100"] else 0
    replicas = len(spec["scale_factors"]) * spec["replicas"]
    seconds = replicas * (nvt_s + asked.s_ps_bead(parent_id) * n_beads * npt_ps)
    if named in THERMOSTAT_FACTOR:  # one run without friction and one with some, to calibrate it
        seconds += free_s + nvt_s
    return Cost(STEP_START_S + seconds, replicas * RECORD_BYTES, _frames_bytes(spec, n_beads))


def _train(asked: _Asked, key: str) -> Cost:
    if asked.plan.scale.extends is not None:  # the model is there
        return _step(asked, key)
    rows, potentials = asked.structures
    read_s = 1.5 * STEP_START_S + ROW_S * asked.rows
    if key.endswith(".bag2024"):
        section = asked.plan.scale.predictor
        networks = NETWORKS * section.bag2024_folds
        batches = section.bag2024_epochs * max(1.0, rows / BATCH_ROWS)
        return Cost(read_s + BATCH_S * batches * networks, NETWORK_BYTES * section.bag2024_folds)
    # Runs of one potential, which differ in mass alone, are one liquid to learn from.
    return Cost(read_s + GAUSSIAN_PROCESS_S * potentials**3, LIQUID_BYTES * potentials)


def _fit_force_field(asked: _Asked, name: str) -> Cost:
    spec = asked.plan.forcematch.fits[name]
    runs = [asked.plan.atomistic_spec(run) for run in spec["parent_run_ids"]]
    frames = sum(run["n_molecules"] * run["lengths"]["nvt_ps"] / spec["every_ps"] for run in runs)
    passes = spec["settings"].get("epochs", 1) * frames * _beads_per_molecule(runs[0])
    return Cost(2 * STEP_START_S + LEARN_S[spec["model"]] * _network_size(spec, runs[0]) * passes, FIELD_BYTES)


def _beads_per_molecule(run: Spec) -> int:
    return len(run.get("mapping", [()]))


def _network_size(fit: Spec, run: Spec) -> float:
    """Return the cost of a bead of a network over that of one of default settings that sees one bead a molecule.

    It goes with the interaction blocks and with the beads within the cutoff, 4/3 π r_c³ ρ; 1 for a pair potential.
    """
    if fit["model"] not in NETWORK_SETTINGS:
        return 1.0
    default = NETWORK_SETTINGS[fit["model"]]().model_dump()
    settings = {**default, **fit["settings"]}
    pairs = _beads_per_molecule(run) * (settings["cutoff_nm"] / default["cutoff_nm"]) ** 3
    blocks = 1 + settings["blocks"] + settings.get("intra_blocks", 0)
    return (1 - PAIRS_SHARE + PAIRS_SHARE * pairs) * blocks / (1 + default["blocks"])


def _judge(asked: _Asked, name: str) -> Cost:
    spec, matching = asked.plan.forcematch.judgements[name], asked.plan.forcematch
    run, fit = asked.plan.atomistic_spec(spec["target_run_ids"][0]), matching.fits.get(spec["source"].get("fit_id"))
    nvt_s, other_s = LAMMPS_S, TABLE_S  # a bead in a step
    if fit is not None and fit["model"] in FIELD_S:
        nvt_s = other_s = FIELD_S[fit["model"]] * _network_size(fit, run)
    # A run at constant pressure settles twice, at constant volume and then at its pressure.
    settlings = (spec["nve_ps"] > 0) + 2 * (spec["npt_ps"] > 0)
    other_ps = settlings * spec["equilibration_ps"] + spec["nve_ps"] + spec["npt_ps"]
    bead_s_ps = nvt_s * (spec["equilibration_ps"] + spec["nvt_ps"]) + other_s * other_ps
    beads = (spec["n_molecules"] or run["n_molecules"]) * _beads_per_molecule(run)
    steps_1_ps = FS_PER_PS / (BONDED_STEP_FS if _beads_per_molecule(run) > 1 else FIELD_STEP_FS)
    return Cost(2 * STEP_START_S + spec["starts"] * beads * steps_1_ps * bead_s_ps, RECORD_BYTES)


def _noise_floor(asked: _Asked, name: str) -> Cost:
    floor = asked.plan.forcematch.floors[name]
    run = asked.plan.atomistic_spec(floor["run_id"])
    n_atoms = run["n_molecules"] * asked.plan.species[run["molecule"]["id"]].n_atoms
    picoseconds = HELD_RUNS * (floor["held_ps"] + HELD_EXTRA_PS)
    return Cost(3 * STEP_START_S + asked.rates.s_ps_atom * n_atoms * picoseconds, ROW_BYTES)


def _tables(asked: _Asked, key: str) -> Cost:
    return _written(asked, "data")


def _release(asked: _Asked, key: str) -> Cost:
    return _written(asked, "")


def _written(asked: _Asked, folder: str) -> Cost:
    """Return the cost of writing all records, and what is in that folder of the base release once more."""
    plan = asked.plan
    records = len(plan.atomistic) + len(plan.inversions) + len(plan.shards) + len(plan.evaluations)
    base = plan.config.base_release
    files = Path(base, folder).rglob("*") if base else ()
    taken_over = sum(file.stat().st_size for file in files if file.is_file())
    return Cost(STEP_START_S + RECORD_S * records, ROW_BYTES * asked.rows + taken_over)


def _step(asked: _Asked, key: str) -> Cost:
    return Cost(STEP_START_S, ROW_BYTES)


def _report(asked: _Asked, key: str) -> Cost:
    return Cost(2 * STEP_START_S + ROW_S * asked.rows, REPORT_BYTES)


COSTS: Mapping[str, Callable[[_Asked, str], Cost]] = {
    "simulate_atomistic": _simulate_atomistic,
    "observe_atomistic": _observe_atomistic,
    "pack_trajectory": _pack_trajectory,
    "restore_trajectory": _restore_trajectory,
    "invert": _invert,
    "simulate_shard": _simulate_shard,
    "simulate_prior_shard": _simulate_shard,
    "list_records": _step,
    "reuse_record": _step,
    "assemble_tables": _tables,
    "train": _train,
    "fit_force_field": _fit_force_field,
    "pair_potential": _step,
    "judge": _judge,
    "evaluate": _evaluate,
    "evaluate_force_matched": _step,
    "propose": _step,
    "noise_floor": _noise_floor,
    "report_force_matching": _report,
    "write_release": _release,
    "make_report": _report,
}


def benchmark_seconds(path: Path) -> float | None:
    """Return the wall time in a benchmark file of Snakemake; None where there is none or it is not whole."""
    try:
        header, values = path.read_text().splitlines()[:2]
        return float(dict(zip(header.split("\t"), values.split("\t"), strict=False))["s"])
    except (OSError, ValueError, KeyError):
        return None


def measured_rates(plans: Iterable[Plan], benchmarks: Path, rates: Rates | None = None) -> Rates:
    """Return rates with the factor of every rule that has benchmarks: the median of measured over expected time.

    A job that was killed and went on has a benchmark of its last part only, hence the median.

    Parameters
    ----------
    plans
        Plans whose jobs may have been run; their ids tell what a benchmark measured.
    benchmarks
        Directory `benchmarks` of a results directory.
    rates
        What to start from.
    """
    rates = rates or Rates()
    ratios: dict[str, dict[str, float]] = defaultdict(dict)
    for plan in plans:
        for target in TARGETS if plan.forcematch.judgements else TARGETS[:1]:
            for job, cost in job_costs(plan, rates, target):
                if job.rule == "train" and plan.scale.extends is not None:
                    continue  # a model that is taken over says nothing about a training
                seconds = benchmark_seconds(benchmarks / job.rule / f"{job.name}.tsv")
                if seconds:
                    ratios[job.rule][job.name] = seconds / cost.seconds
    factors = {rule: median(found.values()) for rule, found in ratios.items()}
    return replace(rates, factors=factors, measured={rule: len(found) for rule, found in ratios.items()})


def given_rates(rates: Rates, atomistic_ns_day: float | None, coarse_ns_day: float | None) -> Rates:
    """Return rates with those that the user knows better; the rules that a given rate decides need no factor.

    Raises
    ------
    InputError
        A rate is not above 0.
    """
    given = (
        ("--ns-day-1000-atoms", "atomistic_ns_day", atomistic_ns_day, {"simulate_atomistic"}),
        (
            "--ns-day-1000-beads",
            "coarse_ns_day",
            coarse_ns_day,
            {"simulate_shard", "simulate_prior_shard", "invert", "evaluate"},
        ),
    )
    for option, name, value, rules in given:
        if value is None:
            continue
        if not 0 < value < math.inf:
            raise InputError(option, "", value, "a number above 0")
        factors = {rule: factor for rule, factor in rates.factors.items() if rule not in rules}
        rates = replace(rates, **{name: value}, factors=factors)
    return rates


@dataclass(frozen=True)
class Schedule:
    """How long jobs take on so many cores, and the most disk (bytes) that is in use on the way."""

    wall_s: float
    peak_bytes: float


def schedule(costs: Sequence[tuple[Job, Cost]], slots: int, job_start_s: float = 0.0) -> Schedule:
    """Return what happens when `slots` cores each take the next job whose inputs are there, first come first served.

    Parameters
    ----------
    costs
        Jobs in the order of the plan; what a job needs and no job here makes is taken to be there.
    slots
        Jobs that run at the same time.
    job_start_s
        What a scheduler adds to each job.
    """
    makers = {product: number for number, (job, _) in enumerate(costs) for product in (job.product, *job.also)}
    waiting, followers = [], defaultdict(list)
    for number, (job, _) in enumerate(costs):
        needed = {makers[need] for need in job.needs if need in makers}
        waiting.append(len(needed))
        for other in needed:
            followers[other].append(number)
    ready = deque(number for number, count in enumerate(waiting) if count == 0)
    running: list[tuple[float, int]] = []
    now = kept = scratch = peak = 0.0
    while ready or running:
        while ready and len(running) < slots:
            number = ready.popleft()
            cost = costs[number][1]
            scratch += cost.scratch_bytes
            kept += cost.kept_bytes
            heapq.heappush(running, (now + job_start_s + cost.seconds, number))
        peak = max(peak, kept + scratch)
        now, number = heapq.heappop(running)
        scratch -= costs[number][1].scratch_bytes
        for other in followers[number]:
            waiting[other] -= 1
            if waiting[other] == 0:
                ready.append(other)
    return Schedule(now, peak)


def estimate(plan: Plan, rates: Rates, slots: int, on_cluster: bool = False, target: str = "all") -> dict[str, Any]:
    """Return what a plan costs, rule by rule and in all; times in hours or s, sizes in bytes.

    Parameters
    ----------
    plan, rates
        What is to be made, and how fast the machine is.
    slots
        Cores, or jobs at a time on a cluster.
    on_cluster
        Whether a scheduler adds its own time to each job.
    target
        One of `mobcg.jobs.TARGETS`.
    """
    costs = job_costs(plan, rates, target)
    rows = []
    for rule in COSTS:
        own = [cost for job, cost in costs if job.rule == rule]
        if own:
            rows.append(
                {
                    "rule": rule,
                    "jobs": len(own),
                    "core_hours": sum(cost.seconds for cost in own) / 3600,
                    "longest_job_hours": max(cost.seconds for cost in own) / 3600,
                    "kept_bytes": sum(cost.kept_bytes for cost in own),
                    "scratch_bytes": max(cost.scratch_bytes for cost in own),
                    "measured_jobs": rates.measured[rule] if rule in rates.factors else 0,
                }
            )
    course = schedule(costs, slots, CLUSTER_JOB_S if on_cluster else LOCAL_JOB_S)
    return {
        "scale": plan.scale.name,
        "slots": slots,
        "rules": rows,
        "jobs": len(costs),
        "core_hours": sum(row["core_hours"] for row in rows),
        "gpu_hours": 0.0,  # every rule runs on CPU cores
        "kept_bytes": sum(row["kept_bytes"] for row in rows),
        "peak_bytes": course.peak_bytes,
        "wall_s": course.wall_s,
    }
