import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mobcg.database import tables
from mobcg.database.tables import derived_potential_row, merge, write_table
from mobcg.errors import InputError
from mobcg.pair import R_NM, derive, force
from mobcg.plan import run_id
from mobcg.records import read_record, to_arrow, write_rows


def coarse_rows(first, count):
    """Return rows that need nothing but their key; the ids fall where hashes fall."""
    filled = {"molecule_id": "benzene", "potential_id": "p", "mass_g_mol": 78.0, "thermostat": "nose_hoover"}
    filled |= {
        "friction_1_ps": 0.0,
        "temperature_k": 298.15,
        "n_beads": 400,
        "status": "ok",
        "spec": {},
        "versions": {},
    }
    return [filled | {"run_id": run_id({"row": number})} for number in range(first, first + count)]


def test_merge_in_parts_gives_the_same_bytes_as_at_once(tmp_path, monkeypatch):
    paths = [tmp_path / f"{number}.parquet" for number in range(7)]
    for number, path in enumerate(paths):
        write_rows(path, "coarse", coarse_rows(10 * number, 10))
    monkeypatch.setattr(tables, "ROW_GROUP_ROWS", 8)
    monkeypatch.setattr(tables, "PART_ROWS", 10**6)
    merge("coarse", paths, tmp_path / "once.parquet", {})
    monkeypatch.setattr(tables, "PART_ROWS", 16)
    merge("coarse", paths[::-1], tmp_path / "parts.parquet", {})
    assert (tmp_path / "once.parquet").read_bytes() == (tmp_path / "parts.parquet").read_bytes()
    merged = pq.read_table(tmp_path / "parts.parquet")["run_id"].to_pylist()
    assert merged == sorted(run_id({"row": number}) for number in range(70))


def test_id_in_two_files_is_named(tmp_path):
    for name in ("one", "other"):
        write_rows(tmp_path / f"{name}.parquet", "coarse", coarse_rows(3, 1))
    with pytest.raises(InputError, match=run_id({"row": 3})):
        merge("coarse", [tmp_path / "one.parquet", tmp_path / "other.parquet"], tmp_path / "merged.parquet", {})


def test_no_records_make_an_empty_table(tmp_path):
    merge("coarse", [], tmp_path / "coarse.parquet", {})
    assert pq.read_metadata(tmp_path / "coarse.parquet").num_rows == 0


def test_record_of_another_table_is_refused(tmp_path, inputs):
    with pytest.raises(InputError, match="records of coarse"):
        merge("coarse", inputs.records["potentials"][:1], tmp_path / "coarse.parquet", {})


def test_scaled_row_is_the_parent_times_the_factor(inputs):
    parent = read_record(inputs.records["potentials"][0])
    row = derived_potential_row(parent, {"parent_id": parent["potential_id"], "scale_factor": 1.3})
    assert row["potential_id"] == run_id({"kind": "scaled", "parent_id": parent["potential_id"], "scale_factor": 1.3})
    np.testing.assert_allclose(row["potential_kj_mol"], 1.3 * np.array(parent["potential_kj_mol"]))
    np.testing.assert_allclose(row["force_kj_mol_nm"], force(row["potential_kj_mol"]), rtol=1e-9, atol=1e-9)
    assert row["parent_id"] == parent["potential_id"]


def test_perturbed_row_is_what_the_run_had(inputs):
    parent = read_record(inputs.records["potentials"][0])
    perturbation = {"amplitude_kj_mol": [1.0], "centre_nm": [0.8], "width_nm": [0.1]}
    potential = {"parent_id": parent["potential_id"], "scale_factor": 1.3, "perturbation": perturbation}
    row = derived_potential_row(parent, potential)
    assert row["potential_id"] == run_id({"kind": "perturbed", **potential})
    assert (row["origin"], row["parent_id"], row["scale_factor"]) == ("perturbed", parent["potential_id"], 1.3)
    np.testing.assert_allclose(row["potential_kj_mol"], derive(parent["potential_kj_mol"], potential))
    np.testing.assert_allclose(row["force_kj_mol_nm"], force(row["potential_kj_mol"]))


def test_what_derives_from_a_failed_potential_failed_too(inputs):
    failed = {"status": "failed", "reason": "it froze", "potential_kj_mol": None}
    parent = read_record(inputs.records["potentials"][0]) | failed
    row = derived_potential_row(parent, {"parent_id": parent["potential_id"], "scale_factor": 1.3})
    assert (row["status"], row["potential_kj_mol"], row["force_kj_mol_nm"]) == ("failed", None, None)
    assert row["reason"] == "its parent failed: it froze"


def test_what_is_said_of_a_potential_is_not_said_of_what_derives_from_it(inputs):
    parent = read_record(inputs.records["potentials"][0]) | {"reason": "stopped, pressure not yet settled"}
    row = derived_potential_row(parent, {"parent_id": parent["potential_id"], "scale_factor": 1.3})
    assert (row["status"], row["reason"]) == ("ok", None)
    assert row["pressure_corrected"] == parent["pressure_corrected"]


# What Arrow held at most: unlike the memory of the process it does not hang on what the allocator keeps for later.
MERGE = """
import sys
from pathlib import Path
import pyarrow
from mobcg.database.tables import merge
directory = Path(sys.argv[1])
merge("coarse", sorted(directory.glob("shard-*.parquet")), directory / "coarse.parquet", {})
print(pyarrow.default_memory_pool().max_memory())
"""


@pytest.mark.workflow
def test_hundred_thousand_records_are_merged_in_bounded_memory(tmp_path):
    """10⁵ records with curves in a hundred shards, as the coarse room writes them; the merge holds a part at a time."""
    shards, count = 100, 1000
    random = np.random.default_rng(1)
    rows = coarse_rows(0, count)
    for row in rows:
        row["rdf"], row["rdf_se"], row["msd_nm2"] = random.normal(1, 0.01, (3, R_NM.size))
    template = to_arrow("coarse", rows)
    for shard in range(shards):
        ids = pa.array([run_id({"row": shard * count + number}) for number in range(count)])
        part = template.set_column(0, template.schema.field("run_id"), ids)
        write_table(tmp_path / f"shard-{shard}.parquet", "coarse", [part], {})
    done = subprocess.run([sys.executable, "-c", MERGE, str(tmp_path)], capture_output=True, text=True, check=True)
    merged = pq.ParquetFile(tmp_path / "coarse.parquet")
    assert merged.metadata.num_rows == shards * count
    ids = merged.read(columns=["run_id"])["run_id"].to_pylist()
    assert ids == sorted(run_id({"row": number}) for number in range(shards * count))

    held, all_of_it = int(done.stdout), template.nbytes * shards
    assert held < 0.75 * all_of_it, f"{held / 2**20:.0f} of {all_of_it / 2**20:.0f} MiB"
