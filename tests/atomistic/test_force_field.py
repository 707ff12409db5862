import hashlib
import math

import numpy as np
import pytest

from mobcg.atomistic.force_field import (
    choose_time_step_fs,
    force_field_rows,
    fourier_to_ryckaert_bellemans,
    harmonic_periods_ps,
    molecule_files,
    own_time_step_fs,
    resolve,
    shortest_period_ps,
    synthetic_parameters,
)
from mobcg.atomistic.topology import build_topology, read_section
from mobcg.config import SyntheticRanges
from mobcg.errors import InputError
from mobcg.schema import TABLES
from mobcg.spec import force_field_id

ETHYLBENZENE = "CCc1ccccc1"
RANGES = SyntheticRanges().model_dump()


def synthetic(draw: int, ranges=RANGES) -> dict:
    return {"kind": "synthetic", "draw": draw, "ranges": ranges}


def spec_of(force_field: dict, smiles: str = ETHYLBENZENE) -> dict:
    return {"molecule": {"id": "some", "smiles": smiles}, "force_field": force_field}


def test_draws_are_deterministic_and_differ():
    first, again, second = (resolve(ETHYLBENZENE, synthetic(n)).parameters for n in (1, 1, 2))
    assert first == again
    assert first.bonds != second.bonds
    assert first.angles != second.angles
    assert first.torsions != second.torsions


def test_draws_stay_in_their_ranges_and_leave_the_rest_alone():
    reference = build_topology(ETHYLBENZENE).parameters
    for n in range(30):
        drawn = synthetic_parameters(reference, RANGES, {"draw": n})
        assert drawn.atoms == reference.atoms
        assert drawn.impropers == reference.impropers
        for types, (length, k) in drawn.bonds.items():
            factor = length / reference.bonds[types][0]
            assert RANGES["bond_length_factor"][0] - 1e-4 <= factor <= RANGES["bond_length_factor"][1] + 1e-4
            if any(name.startswith("H") for name in types):
                assert k == reference.bonds[types][1]
        for types, (theta, _) in drawn.angles.items():
            assert abs(theta - reference.angles[types][0]) <= RANGES["angle_shift_deg"][1]
        assert drawn.torsions["X", "CA", "CA", "X"] == reference.torsions["X", "CA", "CA", "X"]


def test_a_torsion_that_is_zero_is_varied():
    reference = build_topology(ETHYLBENZENE).parameters
    drawn = resolve(ETHYLBENZENE, synthetic(0)).parameters
    assert set(reference.torsions["CA", "CA", "CT", "CT"]) == {0.0}
    assert max(map(abs, drawn.torsions["CA", "CA", "CT", "CT"])) > 0.1


def test_factors_are_log_uniform():
    reference = build_topology("CC").parameters
    ranges = {"bond_force_constant_factor": [0.25, 4.0]}
    drawn = [synthetic_parameters(reference, ranges, {"draw": n}).bonds["CT", "CT"][1] for n in range(300)]
    factors = np.array(drawn) / reference.bonds["CT", "CT"][1]
    assert np.mean(np.log(factors)) == pytest.approx(0, abs=4 * np.log(4) / math.sqrt(3 * 300))
    assert np.quantile(factors, 0.25) == pytest.approx(0.5, rel=0.25)


def test_empty_ranges_are_the_reference():
    assert resolve(ETHYLBENZENE, synthetic(5, {})).parameters == build_topology(ETHYLBENZENE).parameters


def test_fourier_series_is_its_ryckaert_bellemans_form():
    v1, v2, v3 = 3.0, -1.5, 0.7
    phi = np.linspace(-np.pi, np.pi, 50)
    fourier = (v1 * (1 + np.cos(phi)) + v2 * (1 - np.cos(2 * phi)) + v3 * (1 + np.cos(3 * phi))) / 2
    series = sum(c * np.cos(phi - np.pi) ** n for n, c in enumerate(fourier_to_ryckaert_bellemans(v1, v2, v3)))
    np.testing.assert_allclose(series, fourier, atol=1e-12)


def test_period_of_a_bond_is_analytic():
    (period,) = harmonic_periods_ps([12.0, 12.0], [((0, 1), (0.15, 250000.0))], [], {})
    assert period == pytest.approx(2 * math.pi * math.sqrt(6.0 / 250000.0))


def test_period_of_an_angle_is_that_of_the_hessian():
    masses, r1, r3, theta, k = np.array([1.0, 12.0, 15.0]), 0.11, 0.15, math.radians(110), 300.0
    positions = np.array([[r1, 0, 0], [0, 0, 0], [r3 * math.cos(theta), r3 * math.sin(theta), 0]])

    def angle(flat):
        a, b, c = flat.reshape(3, 3)
        u, v = a - b, c - b
        return math.acos(u @ v / np.linalg.norm(u) / np.linalg.norm(v))

    step = 1e-6
    gradient = np.array(
        [(angle(positions.ravel() + step * e) - angle(positions.ravel() - step * e)) / (2 * step) for e in np.eye(9)]
    )
    weights = np.repeat(masses, 3) ** -0.5
    frequency = math.sqrt(np.linalg.eigvalsh(k * np.outer(gradient * weights, gradient * weights))[-1])
    lengths = {frozenset((0, 1)): r1, frozenset((1, 2)): r3}
    (period,) = harmonic_periods_ps(masses, [], [((0, 1, 2), (110.0, k))], lengths)
    assert period == pytest.approx(2 * math.pi / frequency, rel=1e-5)


@pytest.mark.parametrize(("period_fs", "step_fs"), [(30.0, 2.0), (14.0, 2.0), (13.99, 1.25), (8.7, 1.0), (1.0, 0.125)])
def test_time_step_is_at_most_a_seventh_of_the_period(period_fs, step_fs):
    assert choose_time_step_fs(period_fs / 1000) == step_fs


def test_a_period_too_short_for_any_step_is_refused():
    with pytest.raises(InputError, match="period"):
        choose_time_step_fs(0.0005)


def test_stiffer_force_fields_take_shorter_steps():
    stiff = resolve(ETHYLBENZENE, synthetic(0, {"bond_force_constant_factor": [8.0, 8.0]}))
    expected = 2000 * math.pi * math.sqrt(12.011 / 2 / (8 * 392459.2))
    assert 1000 * shortest_period_ps(stiff) == pytest.approx(expected, rel=1e-4)
    assert molecule_files(spec_of(synthetic(0, {"bond_force_constant_factor": [8.0, 8.0]}))).time_step_fs == 1.0
    assert molecule_files(spec_of({"kind": "pristine"})).time_step_fs == 2.0


def test_rows_fit_the_table_and_compare_with_the_reference():
    rows = force_field_rows(spec_of(synthetic(3)))
    assert set(rows[0]) == {column.name for column in TABLES["force_fields"].columns}
    keys = [tuple(row[name] for name in TABLES["force_fields"].key) for row in rows]
    assert len(set(keys)) == len(keys)
    assert any(row["value"] != row["reference_value"] for row in rows)
    assert all(row["value"] == row["reference_value"] for row in force_field_rows(spec_of({"kind": "pristine"})))


def test_rows_are_what_is_simulated():
    spec = spec_of(synthetic(3))
    lengths = {float(words[3]) for words in read_section(molecule_files(spec).itp, "bonds")}
    assert lengths == {r["value"] for r in force_field_rows(spec) if r["term"] == "bond" and r["parameter"] == "length"}


def test_id_depends_on_molecule_and_draw_only():
    ids = {force_field_id(spec_of(synthetic(n), smiles)) for n in (0, 1) for smiles in ("CC", "CCC")}
    assert len(ids) == 4
    assert force_field_id(spec_of(synthetic(0)) | {"temperature_k": 300}) == force_field_id(spec_of(synthetic(0)))


@pytest.fixture
def own(tmp_path):
    """Files of benzene as a user would bring them, and the force field of a spec that names them."""
    files = molecule_files(spec_of({"kind": "pristine"}, "c1ccccc1"))

    def write(itp: str = files.itp, gro: str = files.gro) -> dict:
        (tmp_path / "own.itp").write_text(itp)
        (tmp_path / "own.gro").write_text(gro)
        hashes = {
            f"{kind}_sha256": hashlib.sha256(text.encode()).hexdigest() for kind, text in (("itp", itp), ("gro", gro))
        }
        return {"kind": "file", "itp": "own.itp", "gro": "own.gro", **hashes}

    return write, files, tmp_path


def test_own_files_are_used_as_they_are(own):
    write, files, directory = own
    read = molecule_files(spec_of(write(), "c1ccccc1"), directory=directory)
    assert (read.itp, read.gro, read.molecule_name, read.time_step_fs) == (files.itp, files.gro, "MOL", 2.0)
    assert read.force_field_includes == ()
    np.testing.assert_allclose(read.masses_g_mol, files.masses_g_mol)
    assert force_field_rows(spec_of(write(), "c1ccccc1")) == []


def test_own_files_without_types_are_read_on_oplsaa(own):
    write, files, directory = own
    bare = files.itp[files.itp.index("[ moleculetype ]") :]
    assert molecule_files(spec_of(write(bare), "c1ccccc1"), directory=directory).force_field_includes == (
        "oplsaa.ff/forcefield.itp",
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda itp: itp.replace("-0.115000", "-0.100000"), "neutral"),
        (lambda itp: itp.replace("[ defaults ]\n1 3 yes 0.5 0.5", ""), "defaults"),
        (lambda itp: itp + '#include "more.itp"\n', "include"),
        (lambda itp: itp.replace("[ moleculetype ]\nMOL 3", ""), "moleculetype"),
        (lambda itp: itp.replace(" 1.00800\n", "\n"), "charge and mass"),
        (lambda itp: itp.replace(" 1.00800\n", " 2.01400\n"), "78"),
    ],
)
def test_wrong_own_files_are_refused(own, damage, message):
    write, files, directory = own
    with pytest.raises(InputError, match=message):
        molecule_files(spec_of(write(damage(files.itp)), "c1ccccc1"), directory=directory)


def test_own_files_of_another_molecule_are_refused(own):
    write, _, directory = own
    with pytest.raises(InputError, match=r"92\.14"):
        molecule_files(spec_of(write(), "Cc1ccccc1"), directory=directory)


def test_changed_own_files_are_refused(own):
    write, _, directory = own
    force_field = write()
    (directory / "own.gro").write_text("something else")
    with pytest.raises(InputError, match="SHA-256"):
        molecule_files(spec_of(force_field, "c1ccccc1"), directory=directory)


def test_own_terms_without_numbers_take_a_cautious_step(own):
    _, files, _ = own
    assert own_time_step_fs(files.itp) == 2.0
    assert own_time_step_fs(files.itp.replace(" 1 0.14 392459.2", " 1")) == 1.0
