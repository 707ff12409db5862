"""What a plan costs: core time and jobs by rule, from rates measured on one core of a workstation."""

from __future__ import annotations

from mobcg.plan import Plan, Spec

# Seconds per picosecond and atom of GROMACS at 2 fs with PME, and per picosecond and bead of LAMMPS at 7 fs: both on
# one core, GROMACS 2022.5 with SSE4.1 and LAMMPS of September 2021.
ATOMISTIC_S_PS_ATOM = 5.0e-4
COARSE_S_PS_BEAD = 5.0e-5
# What VOTCA's own scripts add to each iteration, and what starting a step costs (imports, files).
INVERSION_OVERHEAD_S = 7.0
STEP_START_S = 4.0
TRAINING_S = {"mobcg": 120.0, "bag2024": 40.0}


def _atomistic_s(spec: Spec, n_atoms: int) -> float:
    lengths = spec["lengths"]
    # The squeeze runs at half the time step; the density settles after about three blocks.
    picoseconds = 2 * lengths["squeeze_ps"] + 3 * lengths["npt_block_ps"] + lengths["nvt_equilibration_ps"]
    return STEP_START_S + ATOMISTIC_S_PS_ATOM * spec["n_molecules"] * n_atoms * (picoseconds + lengths["nvt_ps"])


def _coarse_s(section: Spec, n_beads: float) -> float:
    return 0.5 + COARSE_S_PS_BEAD * n_beads * (section["equilibration_ps_100"] + section["production_ps_100"])


def job_seconds(plan: Plan) -> dict[str, list[float]]:
    """Return rule → expected core seconds of each of its jobs; reused records cost nothing."""
    atoms = {name: species.n_atoms for name, species in plan.species.items()}
    atomistic = {
        run: _atomistic_s(plan.atomistic[run], atoms[plan.atomistic[run]["molecule"]["id"]])
        for run in plan.to_simulate("atomistic")
    }
    inversions = []
    for name in plan.to_simulate("inversions"):
        spec = plan.inversions[name]
        n_beads = plan.atomistic[spec["parent_run_ids"][0]]["n_molecules"]
        iteration = INVERSION_OVERHEAD_S + COARSE_S_PS_BEAD * n_beads * spec["iteration_ps_100"]
        inversions.append(STEP_START_S + 0.8 * spec["iterations_max"] * iteration)
    shards = [
        STEP_START_S + plan.shards[name]["count"] * _coarse_s(plan.shards[name]["sampling"], plan.scale.coarse.n_beads)
        for name in plan.to_simulate("shards")
    ]
    evaluations = [
        STEP_START_S + len(spec["scale_factors"]) * spec["replicas"] * 1.3 * _coarse_s(spec, 200)
        for spec in plan.evaluations.values()
    ]
    trainings = [TRAINING_S[model] for model in plan.scale.predictor.models for _ in plan.folds]
    return {
        "simulate_atomistic": list(atomistic.values()),
        "observe_atomistic": [STEP_START_S + 1.0] * len(atomistic),
        "invert": inversions,
        "simulate_shard": shards,
        "assemble_tables": [STEP_START_S],
        "train": trainings,
        "evaluate": evaluations,
        "write_release": [STEP_START_S],
        "make_report": [3 * STEP_START_S],
    }
