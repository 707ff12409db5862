"""Dense liquids made on paper: g(r) with shells, so that nothing that tells a liquid from other things objects."""

from __future__ import annotations

import dataclasses

import numpy as np

from mobcg.pair import R_NM, potential_of_mean_force
from mobcg.predictor.dataset import Liquids
from tests.predictor.cases import TEMPERATURE_K, small_liquids, with_friction, with_multiples

DENSITY = 6.5  # 1/nm³, near benzene


def dense_rdf(r_nm, height: float = 2.35, peak_nm: float = 0.56) -> np.ndarray:
    """A smooth g(r): core, first peak, damped waves."""
    r = np.asarray(r_nm) * 0.56 / peak_nm
    wave = 1 + (height - 1) * np.exp(-(r - 0.56) / 0.32) * np.cos(2 * np.pi * (r - 0.56) / 0.5)
    return np.where(r < 0.56, height * np.exp(-(((r - 0.56) / 0.045) ** 2)), wave)


def dense_liquids() -> Liquids:
    """The rows of `small_liquids`, with friction and multiples; the potential is that of mean force, U = −kT ln g."""
    still = small_liquids()
    parents = np.unique(still.parent_potential_id, return_inverse=True)[1]
    rdf = np.array([dense_rdf(R_NM, 2.0 + 0.12 * parent, 0.55 + 0.004 * parent) for parent in parents])
    still = dataclasses.replace(
        still,
        rdf=rdf,
        potential_kj_mol=np.array([potential_of_mean_force(g, TEMPERATURE_K) for g in rdf]),
        number_density_nm3=np.full(len(still), DENSITY),
        n_beads=np.full(len(still), 1000.0),
    )
    return with_multiples(with_friction(still, {"langevin": 1.5, "dpd": 4.0}), factors=(1.2, 1.5), slowing=6.0)
