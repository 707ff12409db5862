"""Loading in one line, with every library that the data card names, from a built release and without a network."""

import os
import subprocess
import sys

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from mobcg.database.card import card
from mobcg.database.dataset import find_release, load, training_batches
from mobcg.errors import InputError
from mobcg.pair import R_NM, force
from mobcg.schema import TABLES


@pytest.fixture(scope="module")
def coarse(release):
    return release / "data" / "coarse.parquet"


@pytest.fixture(scope="module")
def rows(coarse):
    return pq.read_table(coarse).to_pylist()


def test_training_rows_are_aligned(release, rows):
    training = load("training", release=release)
    whole = {row["run_id"]: row for row in rows if row["status"] == "ok"}
    potentials = {row["potential_id"]: row for row in pq.read_table(release / "data/potentials.parquet").to_pylist()}
    splits = pq.read_table(release / "data/splits.parquet", filters=[("fold", "==", "all")]).to_pylist()
    side = {row["run_id"]: row["split"] for row in splits}
    assert training["run_id"].tolist() == sorted(whole)
    np.testing.assert_array_equal(training["r_nm"], R_NM)
    for number, run in enumerate(training["run_id"]):
        row = whole[run]
        numbers = ("mass_g_mol", "temperature_k", "number_density_nm3", "n_beads", "diffusion_nm2_ns")
        for name in (*numbers, "diffusion_nm2_ns_se"):
            assert training[name][number] == row[name]
        assert training["rdf"][number].tolist() == row["rdf"]
        potential = potentials[row["potential_id"]]
        assert training["potential_kj_mol"][number].tolist() == potential["potential_kj_mol"]
        np.testing.assert_allclose(force(training["potential_kj_mol"][number]), potential["force_kj_mol_nm"], rtol=1e-6)
        assert training["split"][number] == side[run]


def test_fold_holds_its_molecule_out(release):
    training = load("training", release=release, fold="benzene")
    np.testing.assert_array_equal(training["split"] == "test", training["molecule_id"] == "benzene")
    with pytest.raises(InputError, match=r"fold.*all \| benzene"):
        load("training", release=release, fold="water")


def test_batches_are_the_training_set_in_pieces(release):
    whole = load("training", release=release)
    pieces = list(training_batches(release, rows=7))
    assert max(len(piece["run_id"]) for piece in pieces) <= 7
    for name in pieces[0]:
        np.testing.assert_array_equal(np.concatenate([piece[name] for piece in pieces]), whole[name])


def test_row_without_a_side_is_an_error(editable):
    rows = [row for row in editable.rows("splits") if row["fold"] != "all"]
    all_rows = [row for row in editable.rows("splits") if row["fold"] == "all"]
    for lost in (0, -1):
        kept = [row for row in all_rows if row is not all_rows[lost]]
        editable.write("splits", [*kept, *rows])
        with pytest.raises(InputError, match="splits"):
            load("training", release=editable.path)


def test_table_as_arrays(release, rows):
    coarse = load("coarse", release=release)
    assert coarse["rdf"].shape == (len(rows), R_NM.size)
    failed = np.array([row["status"] == "failed" for row in rows])
    assert failed.any()
    assert np.isnan(coarse["rdf"][failed]).all()
    assert np.isnan(coarse["diffusion_nm2_ns"][failed]).all()
    assert coarse["n_beads"].dtype == np.int64
    with pytest.raises(InputError, match="name"):
        load("everything", release=release)


def test_release_is_found_where_it_lies(release, tmp_path, monkeypatch):
    monkeypatch.chdir(release.parent.parent)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(InputError, match="mobcg release download"):
        load("grid")
    (tmp_path / "mobcg" / "releases").mkdir(parents=True)
    (tmp_path / "mobcg" / "releases" / "2031.2.0-interim").symlink_to(release)  # there to go on from, not to load
    (tmp_path / "mobcg" / "releases" / release.name).symlink_to(release)
    assert len(load("grid")["r_nm"]) == R_NM.size
    assert len(load("grid", release=release.name)["r_nm"]) == R_NM.size
    with pytest.raises(InputError, match=r"2031\.1\.0"):
        load("grid", release="2031.1.0")


@pytest.mark.parametrize(
    ("here", "downloaded", "found"),
    [
        (["2026.11.0-demo"], ["2026.10.0"], "there/2026.10.0"),
        (["2026.11.0"], ["2026.12.0"], "there/2026.12.0"),
        (["2026.11.0"], ["2026.11.0"], "here/2026.11.0"),
        (["2026.11.0-demo", "2026.11.1-demo"], [], "here/2026.11.1-demo"),
        (["2026.11.0-demo", "2031.2.0-interim"], ["2026.11.0-demo"], "here/2026.11.0-demo"),
        (["2026.11.0-demo", "2026.11.0-smallest"], [], None),
        (["2026.11.0-demo"], ["2026.11.0-extension"], None),
    ],
)
def test_without_a_name_the_newest_full_release_is_meant(tmp_path, monkeypatch, here, downloaded, found):
    places = {"here": tmp_path / "releases", "there": tmp_path / "mobcg" / "releases"}
    for place, names in zip(places.values(), (here, downloaded), strict=True):
        for name in names:
            (place / name / "data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if found is None:
        with pytest.raises(InputError, match='Say which: `release="') as error:
            find_release(None)
        assert all(name in str(error.value) for name in [*here, *downloaded])
    else:
        place, name = found.split("/")
        assert find_release(None).resolve() == places[place] / name


def test_pandas(coarse, rows):
    frame = pd.read_parquet(coarse)
    assert len(frame) == len(rows)
    whole = frame[frame.status == "ok"]
    assert np.stack(whole["rdf"]).shape == (len(whole), R_NM.size)


def test_polars(coarse, rows):
    means = pl.scan_parquet(coarse).group_by("molecule_id").agg(pl.col("diffusion_nm2_ns").mean()).collect()
    frame = pd.DataFrame(rows).groupby("molecule_id")["diffusion_nm2_ns"].mean()
    of_molecules = {name: mean for name, mean in means.iter_rows() if name is not None}  # null: liquids of the prior
    assert of_molecules == pytest.approx(frame.to_dict())


def test_duckdb(coarse, rows):
    query = f"select molecule_id, avg(diffusion_nm2_ns), max(list_max(rdf)) from '{coarse}'"
    query += " where molecule_id is not null group by 1"
    means = {name: mean for name, mean, _ in duckdb.sql(query).fetchall()}
    frame = pd.DataFrame(rows).groupby("molecule_id")["diffusion_nm2_ns"].mean()
    assert means == pytest.approx(frame.to_dict())


EVERY_TABLE = """
import sys
from datasets import get_dataset_config_names, load_dataset
directory, cache = sys.argv[1:]
for name in get_dataset_config_names(directory):
    assert len(load_dataset(directory, name, split="train", cache_dir=cache))
    print(name)
"""
HUGGING_FACE = """
import sys
from datasets import load_dataset
directory, cache = sys.argv[1:]
default = load_dataset(directory, split="train", cache_dir=cache)
splits = load_dataset(directory, "splits", split="train", cache_dir=cache)
files = load_dataset("parquet", data_files=f"{directory}/data/coarse.parquet", split="train", cache_dir=cache)
assert default[0] == files[0]
print(len(default), len(splits), len(next(row["rdf"] for row in default if row["rdf"])))
"""


def test_hugging_face_loads_what_a_release_without_scores_names(editable, tmp_path):
    editable.write("evaluation", [])
    (editable.path / "README.md").write_text(card(editable.path), encoding="utf-8")
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-c", EVERY_TABLE, str(editable.path), str(tmp_path / "cache")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [name for name in TABLES if name != "evaluation"]


def test_hugging_face_datasets(release, rows, tmp_path):
    """The YAML header of README.md names the tables; `datasets` runs apart, for it is told to stay offline."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-c", HUGGING_FACE, str(release), str(tmp_path / "cache")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    n_splits = pq.read_metadata(release / "data/splits.parquet").num_rows
    assert done.stdout.split() == [str(len(rows)), str(n_splits), str(R_NM.size)]


def test_pyarrow_dataset_over_two_versions(coarse, rows, tmp_path):
    """Two versions are one dataset, told apart by the directory they lie in."""
    for version in ("2026.11.0", "2026.12.0"):
        (tmp_path / f"version={version}").mkdir()
        (tmp_path / f"version={version}" / "coarse.parquet").symlink_to(coarse)
    both = ds.dataset(tmp_path, partitioning="hive")
    assert both.count_rows() == 2 * len(rows)
    newer = both.to_table(columns=["run_id", "version"], filter=ds.field("version") == "2026.12.0")
    assert len(newer) == len(rows)
