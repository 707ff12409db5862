"""A small real liquid: 64 benzene molecules, the fewest whose box holds the cutoff twice."""

from pathlib import Path

import pytest

from mobcg.atomistic.force_field import molecule_files
from mobcg.atomistic.gromacs import Machine, Progress, minimise, run_stage
from mobcg.atomistic.simulate import fill_box, planned_stages, write_molecule

SMALL = {
    "kind": "atomistic",
    "protocol": 1,
    "molecule": {"id": "benzene", "smiles": "c1ccccc1"},
    "force_field": {"kind": "pristine"},
    "temperature_k": 298.15,
    "pressure_bar": 1.01325,
    "n_molecules": 64,
    "start_density_kg_m3": 873.5,
    "lengths": {"squeeze_ps": 4, "npt_block_ps": 2, "npt_max_ps": 4, "nvt_equilibration_ps": 1, "nvt_ps": 4},
    "frame_ps": 0.5,
    "replica": 0,
}


@pytest.fixture(scope="session")
def liquid(tmp_path_factory) -> Path:
    """Return a folder with the small liquid after its squeeze: squeeze.gro and all that a next stage needs."""
    directory = tmp_path_factory.mktemp("liquid")
    files = molecule_files(SMALL)
    write_molecule(directory, files, SMALL["n_molecules"])
    relaxed = minimise(directory, fill_box(directory, SMALL, files), "minimised", Machine())
    run_stage(directory, planned_stages(SMALL, 2.0)["squeeze"], relaxed, Machine(), Progress("test"))
    return directory
