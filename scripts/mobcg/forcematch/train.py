"""Train a model: `python -m mobcg.forcematch.train --model schnet --beads FILE.npz [FILE.npz ...] --out DIR`.

The files are bead trajectories with net forces, of one liquid at one or more state points. DIR gets
weights.safetensors, model.json and training.json; an interrupted training goes on from DIR/checkpoint.safetensors when
the same command is given again. Same data, settings, seed and one thread give the same weights to the bit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from mobcg.config import NETWORK_SETTINGS, validate
from mobcg.errors import InputError, SimulationError
from mobcg.forcematch import learning, pair_fm
from mobcg.forcematch.frames import Frames, decorrelation_ps, frames_of
from mobcg.forcematch.storage import Model, arrays_of, save, save_failure
from mobcg.observables import BeadTrajectory
from mobcg.programs import ProgramError, versions
from mobcg.records import write_json
from mobcg.step import run_step
from mobcg.weights import weights_bytes

MODELS = ("pair_fm", *NETWORK_SETTINGS)
LIBRARIES = {"pair_fm": [], "schnet": ["graph-pes"], "hipnn": ["hippynn"]}
RECORD, CHECKPOINT = "training.json", "checkpoint.safetensors"


def train(
    name: str,
    content: dict[str, Any],
    sets: Sequence[Frames],
    seed: int,
    checkpoint: Path | None = None,
    report: Callable[[str], None] = print,
) -> tuple[Model, dict[str, Any]]:
    """Return any of the `MODELS`, trained, and the record of its training; see `mobcg.forcematch.learning.train`.

    Parameters
    ----------
    content
        Settings of the model, as JSON holds them; what is left out has its default.

    Raises
    ------
    InputError
        There is no such model, its library is missing, or settings or frames are wrong.
    SimulationError
        The training diverged.
    """
    if name not in MODELS:
        raise InputError("--model", "", name, " | ".join(MODELS))
    if name == "pair_fm":
        if content:
            raise InputError("--settings", next(iter(content)), next(iter(content.values())), "nothing for pair_fm")
        model, record = _pair_force(sets, report)
    else:
        model, record = learning.train(
            name, validate(NETWORK_SETTINGS[name], content, "--settings"), sets, seed, checkpoint, report
        )
    digest = hashlib.sha256(weights_bytes(arrays_of(model))).hexdigest()
    libraries = {library: version(library) for library in ("torch", "numpy", *LIBRARIES[name])}
    return model, {**record, "weights_sha256": digest, "versions": {**versions("mobcg"), **libraries}}


def _pair_force(sets: Sequence[Frames], report: Callable[[str], None]) -> tuple[Model, dict[str, Any]]:
    begun_s = time.process_time()
    parts = dict(zip(learning.PARTS, zip(*(frames.split() for frames in sets), strict=True), strict=True))
    force = pair_fm.fit(parts["train"])
    force.potential_kj_mol()  # a force without a wall is no model
    core_s = time.process_time() - begun_s
    report(f"pair_fm: fitted in {core_s:.1f} s")
    accuracy = {
        part: learning.r2_of([pair_fm.residuals(force, frames) for frames in some]) for part, some in parts.items()
    }
    record = {
        "model": "pair_fm",
        "settings": {},
        "sets": [learning.described(frames) for frames in sets],
        "data_sha256": learning.data_sha256(sets),
        "accuracy": accuracy,
        "core_s": core_s,
    }
    return force, record


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.forcematch.train", description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help=" | ".join(MODELS))
    parser.add_argument("--settings", type=json.loads, default={}, help='JSON, for example {"cutoff_nm":0.8}')
    parser.add_argument("--beads", type=Path, nargs="+", required=True, help="bead trajectories with net forces")
    parser.add_argument("--every-ps", type=float, default=1.0, help="least time between two frames")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="threads of linear algebra; same threads, same bits")
    parser.add_argument("--out", type=Path, required=True, help="directory for the model")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    threadpool_limits(options.threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it CUDA refuses to be deterministic
    torch.use_deterministic_algorithms(True)

    def report(line: str) -> None:
        print(line, flush=True)

    trajectories = [BeadTrajectory.load(path) for path in options.beads]
    checkpoint = options.out / CHECKPOINT
    try:
        sets = [frames_of(trajectory, options.every_ps) for trajectory in trajectories]
        correlated_ps = [decorrelation_ps(trajectory) for trajectory in trajectories]
        model, record = train(options.model, options.settings, sets, options.seed, checkpoint, report)
    except ProgramError:
        raise
    except SimulationError as error:
        report(f"{options.out}: {error}")
        write_json(options.out / RECORD, {"model": options.model, "settings": options.settings, "failed": str(error)})
        save_failure(options.out, options.model, str(error))
        return 0
    write_json(options.out / RECORD, {**record, "force_decorrelation_ps": correlated_ps})
    save(model, options.out)  # last: a directory with model.json in it is whole
    checkpoint.unlink(missing_ok=True)
    found = record["accuracy"]["test"]
    report(f"{options.out}: R² of the forces on test frames {found['r2']:.4f} ± {found['r2_se']:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))
