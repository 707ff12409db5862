"""Boxes of beads to start from."""

import numpy as np

from mobcg.coarse.simulate import start_positions
from mobcg.forcematch.field import Beads

TEMPERATURE_K = 300.0


def lattice(n_beads: int = 60, number_density_nm3: float = 6.6, seed: int = 1) -> tuple[Beads, np.ndarray, float]:
    edge = (n_beads / number_density_nm3) ** (1 / 3)
    return Beads.single(n_beads, 78.0), start_positions(n_beads, edge, seed), edge


def dimers(n_molecules: int = 30) -> tuple[Beads, np.ndarray, float]:
    """Return molecules of two beads, 20 and 60 g/mol, 0.15 nm apart, some of them across the edge of the box."""
    _, centres, edge = lattice(n_molecules, 4.0)
    random = np.random.default_rng(2).standard_normal((n_molecules, 3))
    away = 0.075 * random / np.linalg.norm(random, axis=1, keepdims=True)
    centres = centres - centres[0]  # the first molecule is on the corner of the box
    positions = np.stack([centres - away, centres + away], axis=1).reshape(-1, 3) % edge
    number = np.arange(2 * n_molecules)
    beads = Beads(number % 2, number // 2, np.tile([20.0, 60.0], n_molecules), number.reshape(-1, 2))
    return beads, positions, edge
