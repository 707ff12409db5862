"""Bench of force-matched models: `python -m mobcg.forcematch.bench [--sizes N …] [--out FILE]`. Part of `make bench`.

Steps of molecular dynamics a second on one core, as the judgements run them: SchNet and HIP-NN-TS of the default
settings, HIP-NN-TS as the scales have it (their speed does not depend on their weights), a pair table in the same
engine, and beside them a pair table in LAMMPS, the reference.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mobcg.coarse.simulate import box_length_nm, simulate, start_positions
from mobcg.config import NETWORK_SETTINGS
from mobcg.forcematch.dynamics import steps_per_second
from mobcg.forcematch.field import Beads, Field
from mobcg.forcematch.network import rebuild
from mobcg.forcematch.pair_table import PairTable
from mobcg.pair import R_NM, taper
from mobcg.records import atomic_path
from mobcg.units import FS_PER_PS

SIZES = (200, 500, 1000)
# Of the scales pilot and workstation.
SMALL_HIPNN = {"features": 16, "sensitivities": 12, "cutoff_nm": 0.8, "soft_max_nm": 0.75}
NUMBER_DENSITY_NM3, TEMPERATURE_K, MASS_G_MOL = 6.5, 298.15, 78.0
SIGMA_NM, EPSILON_KJ_MOL = 0.5, 1.0
EQUILIBRATION_PS_100, PRODUCTION_PS_100 = 5.0, 150.0


def lennard_jones() -> NDArray[np.float64]:
    """Return a Lennard-Jones potential (150,) of about the size of benzene."""
    power = (SIGMA_NM / np.maximum(R_NM, 0.6 * SIGMA_NM)) ** 6
    return taper(4 * EPSILON_KJ_MOL * (power**2 - power))


def fields(n_beads: int, seconds: float) -> dict[str, float]:
    """Return model → steps per second of the fields that run here."""
    edge_nm = box_length_nm(n_beads, NUMBER_DENSITY_NM3)
    positions = start_positions(n_beads, edge_nm, seed=1)
    beads = Beads.single(n_beads, MASS_G_MOL)
    networks = {name: (name, settings()) for name, settings in NETWORK_SETTINGS.items()}
    networks["hipnn_small"] = "hipnn", NETWORK_SETTINGS["hipnn"].model_validate(SMALL_HIPNN)
    models: dict[str, Field] = {"pair_table": PairTable(lennard_jones())}
    models |= {label: rebuild(*network, 1).for_dynamics() for label, network in networks.items()}
    return {name: steps_per_second(model, beads, positions, edge_nm, seconds) for name, model in models.items()}


def lammps(n_beads: int) -> float:
    """Return steps per second of a pair table in LAMMPS, start and analysis of the frames left to it."""
    with tempfile.TemporaryDirectory() as name:
        begun_s = time.perf_counter()
        run = simulate(
            lennard_jones(),
            mass_g_mol=MASS_G_MOL,
            temperature_k=TEMPERATURE_K,
            number_density_nm3=NUMBER_DENSITY_NM3,
            n_beads=n_beads,
            thermostat="nose_hoover",
            friction_1_ps=0.0,
            equilibration_ps_100=EQUILIBRATION_PS_100,
            production_ps_100=PRODUCTION_PS_100,
            seed=1,
            directory=Path(name),
        )
        seconds = time.perf_counter() - begun_s
    return run.production_ps * FS_PER_PS / run.time_step_fs / seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; prints a table."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.forcematch.bench", description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="numbers of molecules, one bead each")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each field is timed")
    parser.add_argument("--out", type=Path, help="the figures as JSON")
    options = parser.parse_args(arguments)
    threadpool_limits(1)
    torch.set_num_threads(1)
    found = {}
    print(f"{'molecules':>9} {'model':<12} {'steps/s':>9}  of LAMMPS")
    for size in options.sizes:
        reference = lammps(size)
        found[size] = {"lammps": reference, **fields(size, options.seconds)}
        for name, rate in found[size].items():
            print(f"{size:>9} {name:<12} {rate:>9.1f}  1/{reference / rate:.0f}", flush=True)
    if options.out is not None:
        with atomic_path(options.out) as temporary:
            temporary.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
