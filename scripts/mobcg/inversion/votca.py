"""What `csg_inverse`, and the `lmp` and `csg_stat` that it drives, read and write.

VOTCA's grid is the common grid: `csg_stat` centres its bins at min + k·step, so min 0.005, max 1.495 and step 0.01 nm
are the bins of `mobcg.pair.R_NM`. It normalises g(r) by N where the records do by N−1, hence (N−1)/N on the way in and
N/(N−1) on the way out.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mobcg.inversion.convergence import Iteration
from mobcg.pair import BIN_WIDTH_NM, R_NM, TABLE_POINTS
from mobcg.records import atomic_path
from mobcg.units import ANGSTROM_PER_NM, BAR_PER_ATM, BAR_PER_KJ_MOL_NM3, FS_PER_PS, thermal_energy_kj_mol

PAIR = "CG-CG"
TARGET_FILE = f"{PAIR}.dist.tgt"
FIRST_POTENTIAL_FILE = f"{PAIR}.pot.in"
TABLE_FILE = "potential.table"
TABLE_KEYWORD = "MOBCG"
SCRIPT_FILE = "iteration.lmp"
START_FILE = "start.lmp"
TOPOLOGY_FILE = "beads.data"
PRESSURE_FILE = "pressure.txt"
STOP_FILE = "converged"
LAST_FRAME_FILE = "end.data"
HOOKS_DIR = "hooks"

# csg_stat names a bead after the element whose mass it has, to 0.02 u, and then finds no bead of our type; g(r) does
# not depend on the mass, and 100.0 is no element's.
MASS_G_MOL = 100.0
FRAME_PS = 0.25
BLOCKS = 6
FIRST_EQUILIBRATION_PS = 20.0
DAMPING_PS = 1.0
# of the Marsaglia random number generator of LAMMPS
LARGEST_SEED = 900_000_000


@dataclass(frozen=True)
class Settings:
    """How an inversion is run.

    Attributes
    ----------
    temperature_k, number_density_nm3
        State of the liquid.
    target_pressure_bar
        Pressure to correct towards; None leaves the pressure alone.
    iterations_max
        Iterations at most.
    production_ps
        Length of the sampled part of an iteration, for a bead of 100 g/mol.
    time_step_fs
        Time step, for a bead of 100 g/mol.
    update_scale
        Factor on the update of the potential, 1 for the plain method.
    """

    temperature_k: float
    number_density_nm3: float
    target_pressure_bar: float | None
    iterations_max: int
    production_ps: float
    time_step_fs: float = 5.0
    update_scale: float = 1.0

    @property
    def equilibration_ps(self) -> float:
        """Time dropped at the start of an iteration, which begins where the one before ended."""
        return max(5.0, 0.1 * self.production_ps)

    @property
    def frames(self) -> int:
        """Frames of an iteration, a multiple of `BLOCKS`."""
        return BLOCKS * max(2, round(self.production_ps / FRAME_PS / BLOCKS))


def settings_xml(settings: Settings) -> str:
    """Return the settings of `csg_inverse`.

    Every property that VOTCA asks for stands here: looking one up in its defaults costs 0.1 s, many times an iteration.
    """
    tasks = ["smooth"]
    post_update: dict[str, Any] = {"smooth": {"iterations": 1}}
    pressure: dict[str, Any] = {}
    if settings.update_scale != 1:
        tasks.insert(0, "scale")
        post_update["scale"] = settings.update_scale
    if settings.target_pressure_bar is not None:
        tasks.append("pressure")
        wjk = {"scale": settings.update_scale, "max_A": 0.1}
        post_update["pressure"] = {"type": "wjk", "do": 1, "wjk": wjk}
        pressure = {"p_target": settings.target_pressure_bar, "particle_dens": settings.number_density_nm3}
    interaction = {
        "name": PAIR,
        "type1": "Bead1",
        "type2": "Bead1",
        "min": f"{R_NM[0]:.3f}",
        "max": f"{R_NM[-1]:.3f}",
        "step": BIN_WIDTH_NM,
        "inverse": {
            "target": TARGET_FILE,
            **pressure,
            "do_potential": 1,
            "post_update": " ".join(tasks),
            "post_update_options": post_update,
            "post_add": "mobcg",
        },
    }
    inverse = {
        "kBT": thermal_energy_kj_mol(settings.temperature_k),
        "program": "lammps",
        "lammps": {
            "command": "lmp",
            "script": SCRIPT_FILE,
            "opts": f"-in {SCRIPT_FILE} -log lammps.log -screen none",
            "topol": TOPOLOGY_FILE,
            "traj": "trajectory.dump",
            "pressure_file": PRESSURE_FILE,
            "conf": "start.data",
            "conf_out": LAST_FRAME_FILE,
            "equi_time": 0,
            "first_frame": 0,
            "rdf": {"with_errors": "yes", "block_length": settings.frames // BLOCKS},
        },
        "scriptpath": HOOKS_DIR,
        "initial_configuration": "laststep",
        "filelist": f"{SCRIPT_FILE} {START_FILE} {TOPOLOGY_FILE} {TABLE_FILE}",
        "cleanlist": "trajectory.dump",
        "iterations_max": settings.iterations_max,
        "convergence_check": {"type": "mobcg", "limit": 0},
        "method": "ibi",
        "simulation": {"background": "no", "tasks": 1},
        "log_file": "inverse.log",
        "restart_file": "restart_points.log",
    }
    root = ElementTree.Element("cg")
    _append(root, {"non-bonded": interaction, "inverse": inverse})
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _append(parent: ElementTree.Element, content: Mapping[str, Any]) -> None:
    for name, value in content.items():
        child = ElementTree.SubElement(parent, name)
        if isinstance(value, Mapping):
            _append(child, value)
        else:
            child.text = str(value)


def hooks(python: str, csg_property: str) -> dict[str, str]:
    """Return name → text of what our side adds to VOTCA's table of scripts, see `cg.inverse.scriptpath` in its manual.

    The potential is shaped, judged and tabulated by one Python process after each iteration, instead of a chain of
    some thirty small programs; the inversion itself stays VOTCA's. Its scripts look up properties of the settings some
    hundred times an iteration, 20 ms each, always the same ones: `csg_property` here, first on PATH, remembers.

    Parameters
    ----------
    python, csg_property
        Paths of the interpreter and of VOTCA's program of that name.
    """
    return {
        "csg_table": (
            "postadd mobcg finish_iteration.sh\n"
            "convergence_check mobcg stop_if_converged.sh\n"
            "convert_potentials lammps dummy.sh\n"
        ),
        "finish_iteration.sh": f'#!/bin/bash\nexec {shlex.quote(python)} -m mobcg.inversion.iteration "$@"\n',
        "stop_if_converged.sh": f"#!/bin/bash\n[[ ! -f {STOP_FILE} ]] || touch stop\n",
        "csg_property": (
            "#!/bin/bash\n"
            f'[[ $1 = --file ]] || exec {shlex.quote(csg_property)} "$@"\n'
            'known="${0%/*}/${2##*/}${*:3}"\n'
            "if [[ ! -f $known ]]; then\n"
            f'  {shlex.quote(csg_property)} "$@" > "$known.new" || exit\n'
            '  mv "$known.new" "$known"\n'
            "fi\n"
            'exec cat "$known"\n'
        ),
    }


def lammps_script(settings: Settings) -> str:
    """Return the LAMMPS input of an iteration; start.lmp beside it gives its seed and equilibration."""
    steps_per_frame = round(FRAME_PS * FS_PER_PS / settings.time_step_fs)
    return f"""# structure and pressure of a one-bead liquid; units: Angstrom, kcal/mol, fs, atm
units           real
atom_style      atomic
read_data       start.data
mass            1 {MASS_G_MOL}
pair_style      table linear {TABLE_POINTS}
pair_coeff      1 1 {TABLE_FILE} {TABLE_KEYWORD}
neighbor        2.0 bin
neigh_modify    every 1 delay 5 check yes
timestep        {settings.time_step_fs}
include         {START_FILE}
velocity        all create {settings.temperature_k} ${{seed}} dist gaussian
fix             bath all langevin {settings.temperature_k} {settings.temperature_k} {DAMPING_PS * FS_PER_PS} ${{seed}}
fix             motion all nve
run             ${{equilibration}}
reset_timestep  0
# the kinetic part of the pressure is known: only the virial is sampled
compute         virial all pressure NULL virial
variable        pressure equal {BAR_PER_ATM}*c_virial+{ideal_pressure_bar(settings)}
fix             mean all ave/time 10 {steps_per_frame // 10} {steps_per_frame} v_pressure
thermo_style    custom step temp pe press
thermo          {10 * steps_per_frame}
dump            frames all atom {steps_per_frame} trajectory.dump
variable        mean equal f_mean
fix             print all print {steps_per_frame} "${{mean}}" file {PRESSURE_FILE} screen no title "pressure_bar"
run             {settings.frames * steps_per_frame}
undump          frames
write_data      {LAST_FRAME_FILE} nocoeff
"""


def ideal_pressure_bar(settings: Settings) -> float:
    """Return ρkT in bar."""
    return settings.number_density_nm3 * thermal_energy_kj_mol(settings.temperature_k) * BAR_PER_KJ_MOL_NM3


def start_script(settings: Settings, iteration: int, seed: int) -> str:
    """Return the part of the LAMMPS input that differs from one iteration to the next."""
    first = iteration == 1
    length_ps = FIRST_EQUILIBRATION_PS if first else settings.equilibration_ps
    lines = [
        f"variable        seed equal {seed}",
        f"variable        equilibration equal {round(length_ps * FS_PER_PS / settings.time_step_fs)}",
    ]
    if first:
        lines.append("minimize        1e-6 1e-6 200 2000")
    return "\n".join(lines) + "\n"


def lattice_data(n_beads: int, box_length_nm: float, seed: int) -> str:
    """Return a LAMMPS data file of beads on randomly chosen sites of a simple cubic lattice."""
    per_edge = int(np.ceil(n_beads ** (1 / 3) - 1e-9))
    sites = np.random.default_rng(seed).choice(per_edge**3, n_beads, replace=False)
    positions = (np.column_stack(np.unravel_index(np.sort(sites), (per_edge,) * 3)) + 0.5) / per_edge
    edge = box_length_nm * ANGSTROM_PER_NM
    lines = ["one-bead liquid", "", f"{n_beads} atoms", "1 atom types", ""]
    lines += [f"0.0 {edge:.12g} {axis}lo {axis}hi" for axis in "xyz"]
    lines += ["", "Masses", "", f"1 {MASS_G_MOL}", "", "Atoms", ""]
    lines += [f"{k} 1 {x:.8f} {y:.8f} {z:.8f}" for k, (x, y, z) in enumerate(positions * edge, start=1)]
    return "\n".join(lines) + "\n"


def to_votca_rdf(rdf: ArrayLike, n_beads: int) -> NDArray[np.float64]:
    """Return g(r) normalised by N, as `csg_stat` does, from one normalised by N−1."""
    return np.asarray(rdf, np.float64) * (n_beads - 1) / n_beads


def from_votca_rdf(rdf: ArrayLike, n_beads: int) -> NDArray[np.float64]:
    """Return g(r) normalised by N−1 from one that `csg_stat` normalised by N."""
    return np.asarray(rdf, np.float64) * n_beads / (n_beads - 1)


def write_table(path: Path, values: ArrayLike) -> None:
    """Write a curve on the common grid, (150,), as a VOTCA table."""
    rows = [f"{r:.3f} {value:.10e} i\n" for r, value in zip(R_NM, np.asarray(values), strict=True)]
    with atomic_path(path) as temporary:
        temporary.write_text("".join(rows))


def read_table(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the values of a VOTCA table on the common grid and their standard errors (0 where it has none).

    Raises
    ------
    ValueError
        The table is on another grid, or holds a value that is not finite.
    """
    rows = [line.split() for line in path.read_text().splitlines() if line.strip() and line[0] not in "#@"]
    r, values = (np.array([float(row[column]) for row in rows]) for column in (0, 1))
    if r.shape != R_NM.shape or np.abs(r - R_NM).max() > 1e-6:
        raise ValueError(f"{path.name} has {r.size} points from {r[0]} to {r[-1]} nm, not the common grid")
    if not np.isfinite(values).all():
        raise ValueError(f"{path.name} holds values that are not finite")
    # The error that VOTCA prints for a bin that is zero in every block may be nan, from rounding.
    errors = np.nan_to_num([float(row[2]) if len(row) > 3 else 0.0 for row in rows])
    return values, errors


def read_iteration(step_dir: Path, n_beads: int) -> Iteration:
    """Return what an iteration sampled, from its directory."""
    potential, _ = read_table(step_dir / f"{PAIR}.pot.cur")
    rdf, rdf_se = (from_votca_rdf(curve, n_beads) for curve in read_table(step_dir / f"{PAIR}.dist.new"))
    series = np.loadtxt(step_dir / PRESSURE_FILE, skiprows=1)
    blocks = [block.mean() for block in np.array_split(series, BLOCKS)]
    return Iteration(potential, rdf, rdf_se**2, float(series.mean()), float(np.std(blocks, ddof=1) / BLOCKS**0.5))
