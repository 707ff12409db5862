"""Small networks, and boxes of beads to try them on."""

import numpy as np
import torch

from mobcg.config import NETWORK_SETTINGS
from mobcg.forcematch.field import Beads, Evaluation, evaluate, pairs_within
from mobcg.forcematch.frames import Frames
from mobcg.forcematch.network import NetworkField, rebuild

SMALL = {
    "schnet": {"features": 8, "filters": 8, "gaussians": 8, "cutoff_nm": 0.7},
    "hipnn": {"features": 8, "sensitivities": 6, "atom_layers": 1, "cutoff_nm": 0.7, "soft_max_nm": 0.6},
}
EDGE_NM, BEADS = 1.8, 24
BOND = {"bond_length_nm": 0.2, "bond_kj_mol_nm2": 5000.0}


def small(name: str, n_kinds: int = 1, seed: int = 1, **settings) -> NetworkField:
    """A network with weights large enough that everything it does is seen."""
    within = {"intra_blocks": 1} if name == "schnet" and n_kinds > 1 else {}
    chosen = {**SMALL[name], **BOND, **within, "precision": "float64", **settings}
    field = rebuild(name, NETWORK_SETTINGS[name].model_validate(chosen), n_kinds, seed)
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.mul_(1.3)
    return field.requires_grad_(False)


def scattered(frames: int, beads: int, edge_nm: float, least_nm: float, seed: int) -> np.ndarray:
    """Random positions (frames, beads, 3), no two nearer than `least_nm`."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(frames):
        positions = np.empty((0, 3))
        while len(positions) < beads:
            trial = rng.uniform(0, edge_nm, 3)
            apart = positions - trial
            apart -= edge_nm * np.round(apart / edge_nm)
            if not np.any(np.linalg.norm(apart, axis=1) < least_nm):
                positions = np.vstack([positions, trial])
        found.append(positions)
    return np.array(found)


def singles(beads: int = BEADS) -> Beads:
    return Beads.single(beads, 80.0)


def trimers(beads: int = BEADS) -> Beads:
    """Three beads a molecule, two kinds, bonded in a ring."""
    number = np.arange(beads)
    ends = [(3 * m + a, 3 * m + b) for m in range(beads // 3) for a, b in ((0, 1), (1, 2), (2, 0))]
    return Beads((number % 3 == 0).astype(np.int64), number // 3, np.full(beads, 26.0), np.array(ends))


def evaluated(field: NetworkField, beads: Beads, positions: np.ndarray, edge_nm=EDGE_NM, skin_nm=0.0) -> Evaluation:
    pairs = pairs_within(positions, edge_nm, field.cutoff_nm + skin_nm)
    return evaluate(field, beads, torch.from_numpy(positions), edge_nm, pairs)


def dimer_force(field: NetworkField, distances_nm: np.ndarray) -> np.ndarray:
    """Force on one of two beads away from the other, (distances,), kJ/mol/nm."""
    positions = np.zeros((len(distances_nm), 2, 3))
    positions[:, 1, 0] = distances_nm
    return evaluated(field, singles(2), positions, 20.0).forces_kj_mol_nm[:, 1, 0].numpy().astype(np.float64)


def pair_potential(r_nm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Repulsion and a well of 2.1 kJ/mol at 0.5 nm, smooth to 0 at 0.7 nm: U (kJ/mol) and −dU/dr (kJ/mol/nm)."""
    x = np.clip((0.7 - r_nm) / 0.2, 0, None)
    return 4.2 * x**2 * (x**2 - 1.5 * x), 4.2 * (4 * x**3 - 4.5 * x**2) / 0.2


def toy(frames: int = 60, beads: int = 8, edge_nm: float = 1.45, seed: int = 2) -> Frames:
    """Beads with that pair force and no other, apart enough that pairs alone and in clusters are all seen."""
    positions = scattered(frames, beads, edge_nm, 0.42, seed)
    apart = positions[:, :, None] - positions[:, None]
    apart -= edge_nm * np.round(apart / edge_nm)
    distance = np.linalg.norm(apart, axis=3) + 10 * np.eye(beads)
    energy, force = pair_potential(distance)
    forces = np.sum((force / distance)[..., None] * apart, axis=2)
    return Frames(positions, forces, edge_nm, 300.0, singles(beads), energy.sum((1, 2)) / 2)
