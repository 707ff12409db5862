import dataclasses

import numpy as np
import pytest

from mobcg.errors import InputError
from mobcg.predictor.dataset import data_hash, merge_masses, read_liquids, structure_rows
from tests.predictor.cases import with_friction, write_tables


def test_reads_finished_rows_only(liquids, tmp_path):
    found, split = read_liquids(write_tables(tmp_path, liquids, "benzene"), "benzene")
    assert found.run_id.tolist() == liquids.run_id.tolist()
    np.testing.assert_array_equal(found.potential_kj_mol, liquids.potential_kj_mol)
    assert {name: int(np.sum(split == name)) for name in ("train", "validation", "test")} == {
        "train": 9,
        "validation": 3,
        "test": 6,
    }
    assert set(found.parent_molecule_id[split != "test"]) == {"mesitylene", "neopentane"}


def test_liquids_without_a_molecule_are_learned_from(liquids, tmp_path):
    """Those of mesitylene as if they had been drawn from the prior."""
    drawn = liquids.parent_molecule_id == "mesitylene"
    names = np.where(drawn, None, liquids.parent_molecule_id)
    of_prior = dataclasses.replace(liquids, parent_molecule_id=names)
    found, split = read_liquids(write_tables(tmp_path, of_prior, "benzene"), "benzene")
    assert found.parent_molecule_id[drawn].tolist() == [""] * 6
    assert set(split[drawn]) == {"train"}


def test_a_held_out_molecule_in_train_is_refused(liquids, tmp_path):
    row = liquids.run_id[liquids.parent_molecule_id == "benzene"][0]
    with pytest.raises(InputError, match="benzene outside test"):
        read_liquids(write_tables(tmp_path, liquids, "benzene", {row: "train"}), "benzene")


def test_a_parent_potential_on_two_sides_is_refused(liquids, tmp_path):
    row = liquids.run_id[liquids.parent_potential_id == "mesitylene-0"][0]
    with pytest.raises(InputError, match="not both"):
        read_liquids(write_tables(tmp_path, liquids, "benzene", {row: "validation"}), "benzene")


def test_an_unknown_fold_names_the_known_ones(liquids, tmp_path):
    with pytest.raises(InputError, match="allowed: benzene"):
        read_liquids(write_tables(tmp_path, liquids, "benzene"), "toluene")


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no data/grid\.parquet"):
        read_liquids(tmp_path, "benzene")


def test_rows_with_friction_are_read_but_are_no_structure_rows(liquids, tmp_path):
    more = with_friction(liquids, {"langevin": 1.5})
    found, _ = read_liquids(write_tables(tmp_path, more, "benzene"), "benzene")
    assert sorted(found.run_id) == sorted(more.run_id)
    assert set(found.friction_1_ps[found.thermostat == "langevin"]) == {0.5, 2.0, 8.0}
    assert structure_rows(found).run_id.tolist() == liquids.run_id.tolist()


def test_merge_masses_averages_diffusion_at_the_mass_of_the_first(liquids):
    # D √m of the three masses is the same in `small_liquids`; twice it in the second makes the mean 4/3 of it.
    changed = np.where(np.arange(len(liquids)) % 3 == 1, 2, 1) * liquids.diffusion_nm2_ns
    merged = merge_masses(dataclasses.replace(liquids, diffusion_nm2_ns=changed))
    np.testing.assert_allclose(merged.diffusion_nm2_ns, 4 / 3 * liquids.diffusion_nm2_ns[::3])
    np.testing.assert_allclose(merged.diffusion_nm2_ns_se, liquids.diffusion_nm2_ns_se[::3] / np.sqrt(3))


def test_merge_masses_averages_the_repeats(liquids):
    noisy = dataclasses.replace(liquids, rdf=liquids.rdf + np.arange(len(liquids))[:, None])
    merged = merge_masses(noisy)
    assert len(merged) == 6
    np.testing.assert_allclose(merged.rdf[0], liquids.rdf[0] + 1.0)  # rows 0, 1 and 2
    assert noisy.rdf[0, -1] == liquids.rdf[0, -1]


def test_data_hash_sees_training_data_and_no_test_row(liquids):
    split = np.where(liquids.parent_molecule_id == "benzene", "test", "train")
    reference = data_hash(liquids, split)
    changed = liquids.rdf.copy()
    changed[0] += 0.1
    assert data_hash(dataclasses.replace(liquids, rdf=changed), split) == reference
    changed[-1] += 0.1
    assert data_hash(dataclasses.replace(liquids, rdf=changed), split) != reference
