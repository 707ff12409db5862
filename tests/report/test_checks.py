"""Convergence, mass law and densities, against curves whose answer is known."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mobcg.pair import R_NM
from mobcg.report.checks import convergence, density, fit_mass_law, frictionless_groups, mass_law, rdf_scatter
from mobcg.report.style import drawing

from .conftest import coarse, failed, read_back


def some_runs(exponent: float, noise: float, seed: int = 0, groups: int = 12, members: int = 6):
    random = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), members)
    mass = random.uniform(20, 200, group.size)
    level = np.exp(random.normal(size=groups))[group]
    diffusion = level * mass**exponent * (1 + noise * random.normal(size=group.size))
    return group, mass, diffusion


@pytest.mark.parametrize("exponent", [-0.5, -0.3])
def test_the_exponent_comes_back_within_its_error(exponent):
    group, mass, diffusion = some_runs(exponent, 0.02)
    fit = fit_mass_law(group, mass, diffusion, 0.02 * diffusion)
    assert fit.exponent == pytest.approx(exponent, abs=3 * fit.exponent_se)
    assert fit.exponent_se < 0.01
    assert fit.reduced_chi_square == pytest.approx(1, abs=0.5)
    assert (fit.groups, fit.runs) == (12, 72)


def test_the_error_of_the_exponent_covers_the_truth_as_often_as_it_says():
    inside = 0
    for seed in range(200):
        group, mass, diffusion = some_runs(-0.5, 0.03, seed=seed)
        fit = fit_mass_law(group, mass, diffusion, 0.03 * diffusion)
        inside += abs(fit.exponent + 0.5) < fit.exponent_se
    assert 0.6 < inside / 200 < 0.82


def test_errors_that_are_too_small_widen_the_error_of_the_exponent():
    group, mass, diffusion = some_runs(-0.5, 0.06)
    honest = fit_mass_law(group, mass, diffusion, 0.06 * diffusion)
    boasting = fit_mass_law(group, mass, diffusion, 0.01 * diffusion)
    assert boasting.reduced_chi_square > 10
    assert boasting.exponent_se == pytest.approx(honest.exponent_se, rel=0.4)


def test_groups_with_one_mass_say_nothing_about_the_exponent():
    fit = fit_mass_law(["a", "b"], [50.0, 100.0], [2.0, 1.0], [0.1, 0.1])
    assert np.isnan(fit.exponent)
    assert fit.runs == 0


def test_g_of_one_liquid_scatters_by_its_noise_and_a_drift_with_mass_shows():
    random = np.random.default_rng(1)
    smooth = 1 + 0.5 * np.sin(10 * R_NM)
    se = np.full((6, R_NM.size), 0.01)
    noisy = smooth + 0.01 * random.normal(size=se.shape)
    assert rdf_scatter(noisy, se) == pytest.approx(np.ones(6), abs=0.2)
    drift = np.linspace(-1, 1, 6)[:, None] * 0.05 * np.sin(10 * R_NM)
    assert rdf_scatter(noisy + drift, se)[[0, -1]].min() > 2


def test_runs_with_friction_or_a_badly_known_coefficient_stay_out_of_the_mass_law(tables):
    rows = coarse(tables["potentials"][:1])
    friction = [row for row in rows if row["thermostat"] != "nose_hoover"]
    vague = rows[0] | {"diffusion_nm2_ns_se": rows[0]["diffusion_nm2_ns"] / 3}
    (members,) = frictionless_groups([vague, *rows[1:]]).values()
    assert len(members) == len(rows) - len(friction) - 1
    assert {row["thermostat"] for row in members} == {"nose_hoover"}


def test_the_mass_law_figure_quotes_its_exponent(tmp_path, tables):
    with drawing():
        exhibit = mass_law(read_back(tmp_path, coarse=tables["coarse"]))
    fitted = float(re.search("b = −([0-9.]+) ±", exhibit.seen).group(1))
    assert fitted == pytest.approx(0.5, abs=0.02)
    assert len(exhibit.figure.axes) == 2


def test_too_few_runs_have_no_exponent(tmp_path, tables):
    rows = [row for row in coarse(tables["potentials"][:1]) if row["thermostat"] == "nose_hoover"]
    with drawing():
        two, four, five = (mass_law(read_back(tmp_path / str(n), coarse=rows[:n])) for n in (2, 4, 5))
    assert two.seen.startswith("2 runs of 1 potential: too few for an exponent. g(r)")
    assert four.seen.startswith("4 runs of 1 potential: too few for an exponent. g(r)")
    assert "D ∝ m^b with b = −" in five.seen
    drawn = [[line.get_label() for line in exhibit.figure.axes[0].lines] for exhibit in (four, five)]
    assert [any("fit" in label for label in labels) for labels in drawn] == [False, True]


def test_runs_that_differ_in_potential_only_give_a_note_instead_of_a_mass_law(tmp_path, tables):
    one_each = coarse(tables["potentials"], per_potential=1)
    with drawing():
        exhibit = mass_law(read_back(tmp_path, coarse=one_each))
    assert exhibit.notes == ("no two runs without friction that differ in mass only",)


def test_convergence_counts_failed_inversions_and_leaves_out_what_has_no_history(tmp_path, tables):
    rows = tables["potentials"]
    rows[0] = failed(rows[0], "csg_inverse ended with exit status 143")
    with drawing():
        exhibit = convergence(
            read_back(tmp_path, potentials=rows, molecules=tables["molecules"], atomistic=tables["atomistic"])
        )
    assert exhibit.notes == (f"1 of {len(rows)} inversions failed",)
    assert f"{len(rows) - 1} inversions" in exhibit.seen


def test_deviations_of_the_density_are_those_of_a_calculator(tmp_path, tables):
    rows = [row for row in tables["atomistic"] if row["molecule_id"] == "benzene"]
    rows = [row | {"density_kg_m3": value} for row, value in zip(rows, (873.5, 873.5 * 1.02), strict=True)]
    with drawing():
        exhibit = density(read_back(tmp_path, molecules=tables["molecules"], atomistic=rows))
    assert "+1.0 to +1.0 %" in exhibit.seen
    assert "ethylbenzene: no atomistic run that succeeded" in exhibit.notes


def labels(exhibit) -> list[str]:
    return [text.get_text() for text in exhibit.figure.axes[0].texts]


def test_references_that_judge_nothing_are_marked_and_not_counted(tmp_path, tables):
    benzene = next(row for row in tables["atomistic"] if row["molecule_id"] == "benzene") | {"density_kg_m3": 882.235}
    about = {row["molecule_id"]: row for row in tables["molecules"]}
    others = {
        "neopentane": ("reference equation of state, CoolProp 8.0.0", 584.0, 626.6),
        "3-ethylhexane": ("approximate, unverified; source wanted", 709.0, 701.9),
        "toluene": (None, 862.0, 844.76),
    }
    runs, molecules = [benzene], [about["benzene"]]
    for name, (source, reference, found) in others.items():
        changed = {"molecule_id": name, "name": name, "reference_density_kg_m3": reference}
        molecules.append(about["benzene"] | changed | {"reference_density_source": source})
        runs.append(benzene | {"molecule_id": name, "run_id": name.ljust(16, "0"), "density_kg_m3": found})
    with drawing():
        exhibit = density(read_back(tmp_path / "some", molecules=molecules, atomistic=runs))
        none = density(read_back(tmp_path / "none", molecules=molecules[1:], atomistic=runs[1:]))
    assert exhibit.seen == (
        "Deviations from +1.0 to +1.0 %, 1.0 % on average over 1 liquids. Not counted: 3-ethylhexane −1.0 % "
        "(unverified), neopentane +7.3 % (metastable), toluene −2.0 % (unverified)."
    )
    assert sum("unverified)" in text for text in labels(exhibit)) == 2
    assert any(text.endswith("(reference 584, metastable)") for text in labels(exhibit))
    assert any(text.endswith("(reference 873.5)") for text in labels(exhibit))
    assert none.seen.startswith("No reference is that of a stable liquid and verified. Not counted: 3-ethylhexane")


def test_a_run_in_a_larger_box_is_no_replica_even_before_there_are_potentials(tmp_path, tables):
    small = next(row for row in tables["atomistic"] if row["molecule_id"] == "benzene") | {"density_kg_m3": 873.5}
    large = small | {"run_id": "0" * 16, "n_molecules": 600, "box_length_nm": 4.9, "density_kg_m3": 900.0}
    with drawing():
        exhibit = density(read_back(tmp_path, molecules=tables["molecules"], atomistic=[large, small]))
    assert "+0.0 to +0.0 %" in exhibit.seen


def test_an_unsettled_density_is_noted(tmp_path, tables):
    with drawing():
        exhibit = density(read_back(tmp_path, molecules=tables["molecules"], atomistic=tables["atomistic"]))
    assert exhibit.notes == ("ethylbenzene, replica 0: the density had not settled",)
