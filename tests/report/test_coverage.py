"""What the database covers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mobcg.report.coverage import diffusion, overview, reduced_diffusion, spread_out
from mobcg.report.liquids import liquids_of
from mobcg.report.release import Release
from mobcg.report.style import drawing
from mobcg.units import thermal_energy_kj_mol

from .conftest import read_back


def test_reduced_diffusion_does_not_depend_on_the_mass():
    row = {"diffusion_nm2_ns": 2.0, "mass_g_mol": 100.0, "temperature_k": 298.15, "number_density_nm3": 6.0}
    expected = 2e-3 * math.sqrt(100 / thermal_energy_kj_mol(298.15)) * 6.0 ** (1 / 3)
    assert reduced_diffusion(row) == pytest.approx(expected)
    assert reduced_diffusion(row | {"mass_g_mol": 25.0, "diffusion_nm2_ns": 4.0}) == pytest.approx(expected)
    assert math.isnan(reduced_diffusion(row | {"number_density_nm3": None}))


def test_labels_move_apart_and_no_further_than_needed():
    assert spread_out([0.1, 0.5], 0.04) == pytest.approx([0.1, 0.5])
    assert spread_out([0.30, 0.30, 0.30], 0.04) == pytest.approx([0.26, 0.30, 0.34])
    assert spread_out([], 0.04).size == 0


def test_every_thermostat_and_liquid_is_in_the_distribution(tmp_path, tables):
    release = read_back(tmp_path, **tables)
    with drawing():
        exhibit = diffusion(release, liquids_of(release))
    shown = [text.get_text() for text in exhibit.figure.legends[0].get_texts()]
    assert sum(int(text.rsplit(": ")[1]) for text in shown) == len(tables["coarse"])
    assert {"benzene", "ethylbenzene"} <= {text.get_text() for text in exhibit.figure.axes[0].texts}
    assert exhibit.notes == ()


def test_one_record_alone_makes_a_figure(tables):
    release = Release("test", {"coarse": tables["coarse"][:1]})
    with drawing():
        exhibit = diffusion(release, [])
    assert exhibit.seen.startswith("1 records")


def test_the_overview_says_when_there_are_no_synthetic_force_fields(tables):
    pristine = [row | {"spec": {"force_field": {"kind": "pristine"}}} for row in tables["atomistic"]]
    with drawing():
        exhibit = overview(Release("test", {"atomistic": pristine}))
    assert exhibit.notes == ("there are no synthetic force fields in this release",)
    synthetic = [row | {"spec": {"force_field": {"kind": "synthetic"}}} for row in (pristine[0], pristine[-1])]
    with drawing():
        exhibit = overview(Release("test", {"atomistic": [*pristine, *synthetic]}))
    values = np.sort([row["diffusion_nm2_ns"] for row in synthetic])
    assert f"{values[0]:.2g} to {values[-1]:.2g} nm²/ns" in exhibit.seen
