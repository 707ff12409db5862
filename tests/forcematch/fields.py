"""Fields with a known answer."""

import torch

from mobcg.forcematch.field import Field, Neighbours


class SoftSpheres(Field):
    """ε (1 − r/r_c)² of each pair, and k/2 (r − r_0)² of each bond: analytic, smooth at the cutoff."""

    def __init__(self, epsilon_kj_mol: float = 10.0, cutoff_nm: float = 0.7, bond_kj_mol_nm2: float = 5000.0):
        super().__init__()
        self.cutoff_nm = cutoff_nm
        self.bond_kj_mol_nm2 = bond_kj_mol_nm2
        self.epsilon_kj_mol = torch.nn.Parameter(torch.tensor(epsilon_kj_mol, dtype=torch.float64))

    def forward(self, neighbours: Neighbours) -> torch.Tensor:
        distance = neighbours.vectors_nm.norm(dim=1)
        each = 0.5 * self.epsilon_kj_mol * (1 - distance / self.cutoff_nm).clamp(min=0) ** 2
        each = each * ~neighbours.same_molecule
        stretch = neighbours.bond_vectors_nm.norm(dim=1) - 0.15
        energies = each.new_zeros(neighbours.n_frames).index_add(0, neighbours.frames[neighbours.first], each)
        return energies.index_add(0, neighbours.bond_frames, 0.5 * self.bond_kj_mol_nm2 * stretch**2)


class Well(Field):
    """−ε (1 − (r/r_c)²)² of each pair: attraction without repulsion."""

    def __init__(self, epsilon_kj_mol: float = 1.0, cutoff_nm: float = 0.7):
        super().__init__()
        self.cutoff_nm = cutoff_nm
        self.epsilon_kj_mol = torch.nn.Parameter(torch.tensor(epsilon_kj_mol, dtype=torch.float64))

    def forward(self, neighbours: Neighbours) -> torch.Tensor:
        distance = neighbours.vectors_nm.norm(dim=1)
        each = -0.5 * self.epsilon_kj_mol * (1 - (distance / self.cutoff_nm) ** 2).clamp(min=0) ** 2
        return each.new_zeros(neighbours.n_frames).index_add(0, neighbours.frames[neighbours.first], each)


class Lossy(SoftSpheres):
    """Soft spheres whose strength depends on the neighbours of the bead, which its forces do not know of."""

    def forward(self, neighbours: Neighbours) -> torch.Tensor:
        distance = neighbours.vectors_nm.norm(dim=1)
        each = (1 - distance / self.cutoff_nm).clamp(min=0) ** 2
        near = each.new_zeros(len(neighbours.kinds)).index_add(0, neighbours.first, (1 - distance / 0.5).clamp(min=0))
        strength = self.epsilon_kj_mol * (1 + 2 * near.detach()[neighbours.first])
        frames = neighbours.frames[neighbours.first]
        return each.new_zeros(neighbours.n_frames).index_add(0, frames, strength * each / 2)
