import json
import shutil
import subprocess
import sys

import numpy as np
import pint
import pyarrow.parquet as pq
import pytest
import yaml

from mobcg.database.build import build_release, build_training_set, finished, main
from mobcg.database.descriptor import footer_of
from mobcg.database.manifest import release_files, sha256_of
from mobcg.database.validate import validate
from mobcg.errors import InputError
from mobcg.plan import molecule_rows
from mobcg.records import read_record, read_rows, write_record, write_rows
from mobcg.weights import save_weights
from tests.database.cases import COMMIT, VERSION, Chain, Inputs, make_plan


def digests(directory):
    return {name: sha256_of(directory / name) for name in release_files(directory)}


def ids(release, table, key="run_id"):
    return set(pq.read_table(release / "data" / f"{table}.parquet")[key].to_pylist())


def changed_benzene(inputs, directory, **columns):
    """Return inputs with one pristine benzene run changed."""
    records = {table: list(paths) for table, paths in inputs.records.items()}
    for place, path in enumerate(records["atomistic"]):
        row = read_record(path)
        if row["molecule_id"] == "benzene":
            records["atomistic"][place] = directory / path.name
            write_record(directory / path.name, "atomistic", row | columns)
            return Inputs(inputs.molecules, records), row["run_id"]
    raise AssertionError("no benzene in the records")


@pytest.fixture(scope="module")
def heptane_release(tmp_path_factory, release, repository, models_dir):
    """The release extended by n-heptane: its plan, the files it simulated, and the new directory."""
    root = tmp_path_factory.mktemp("extension")
    whole = make_plan(root / "plan", ("benzene", "neopentane", "ethylbenzene", "n-heptane"), base_release=release)
    chain = Chain(root / "records", whole)
    paths = chain.paths()
    known = {"atomistic": whole.reused["atomistic"], "potentials": whole.reused["potentials"]}
    known["coarse"] = whole.reused["shards"]
    known["potentials"] |= whole.reused["shards"]  # those of the prior
    fresh = {table: [path for path in paths[table] if path.stem not in known[table]] for table in known}
    records = fresh | {"evaluation": paths["evaluation"]}
    releases = shutil.copytree(release.parent, root / "releases")
    made = build_release(
        records,
        molecule_rows(whole),
        "2026.12.0-test",
        releases,
        base_release=releases / VERSION,
        models=[models_dir / "mobcg"],
        repository=repository,
        commit=COMMIT,
    )
    return fresh, made


def test_release_of_sound_records_is_valid(release):
    assert validate(release) == []


def test_same_records_give_the_same_bytes(tmp_path, inputs, repository, models_dir, release):
    again = build_release(
        {table: paths[::-1] for table, paths in inputs.records.items()},
        inputs.molecules[::-1],
        VERSION,
        tmp_path,
        models=[models_dir / "mobcg"],
        repository=repository,
        commit=COMMIT,
    )
    assert digests(again) == digests(release)


def test_publishing_the_same_content_again_does_nothing(tmp_path, inputs, repository, models_dir, release, capsys):
    releases = shutil.copytree(release.parent, tmp_path / "releases")
    before = {path: path.stat().st_mtime_ns for path in (releases / VERSION).rglob("*")}
    made = build_release(
        inputs.records,
        inputs.molecules,
        VERSION,
        releases,
        models=[models_dir / "mobcg"],
        repository=repository,
        commit="a later commit",
    )
    assert made == releases / VERSION
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before
    assert "nothing to do" in capsys.readouterr().err


def test_other_content_becomes_the_next_micro_version(tmp_path, inputs, repository, models_dir, release, capsys):
    releases = shutil.copytree(release.parent, tmp_path / "releases")
    before = digests(releases / VERSION)
    changed, run = changed_benzene(inputs, tmp_path, density_kg_m3_se=1.7)
    options = {"models": [models_dir / "mobcg"], "repository": repository, "commit": COMMIT}
    made = build_release(changed.records, inputs.molecules, VERSION, releases, **options)
    assert made.name == "2026.11.1-test"
    assert "making 2026.11.1-test" in capsys.readouterr().err
    assert digests(releases / VERSION) == before
    differences = json.loads((made / "diff.json").read_text())
    assert differences["old"] == VERSION
    assert [change["id"] for change in differences["tables"]["atomistic"]["changes"]] == [run]
    assert not list(releases.glob(".building*"))


def test_latest_names_only_versions_without_suffix(tmp_path, inputs, repository, models_dir):
    options = {"models": [models_dir / "mobcg"], "repository": repository, "commit": COMMIT}
    build_release(inputs.records, inputs.molecules, "2026.11.0-demo", tmp_path, **options)
    assert not (tmp_path / "latest.json").exists()
    full = build_release(inputs.records, inputs.molecules, "2026.11.0", tmp_path, **options)
    latest = json.loads((tmp_path / "latest.json").read_text())
    assert latest == {"version": "2026.11.0", "sha256sums": sha256_of(full / "SHA256SUMS")}


def test_training_set_has_the_tables_of_the_release(tmp_path, inputs, release):
    made = build_training_set(inputs.records, inputs.molecules, VERSION, tmp_path / "tables", commit=COMMIT)
    names = {path.name for path in (made / "data").iterdir()}
    assert names == {path.name for path in (release / "data").iterdir()} - {"evaluation.parquet"}
    for name in names:
        assert sha256_of(made / "data" / name) == sha256_of(release / "data" / name)


def test_citation_names_the_version_of_the_data(release, repository):
    cited = yaml.safe_load((release / "CITATION.cff").read_text())
    code = yaml.safe_load((repository / "CITATION.cff").read_text())
    assert code["version"] != VERSION
    assert cited == code | {"version": VERSION}


def test_footer_names_versions_licence_and_commit(release):
    metadata = pq.read_schema(release / "data" / "coarse.parquet").metadata
    assert metadata[b"data_version"] == VERSION.encode()
    assert metadata[b"commit"] == COMMIT.encode()
    assert metadata[b"license"] == b"CC-BY-4.0"
    columns = pq.read_metadata(release / "data" / "coarse.parquet").row_group(0)
    assert {columns.column(number).compression for number in range(columns.num_columns)} == {"ZSTD"}


def test_units_of_force_field_parameters_are_read_by_pint(release):
    registry = pint.UnitRegistry()
    for unit in set(pq.read_table(release / "data" / "force_fields.parquet")["unit"].to_pylist()):
        registry.Unit(unit)


def test_extension_simulates_only_the_new_molecule_and_keeps_published_rows(heptane_release, release):
    fresh, made = heptane_release
    for table, paths in fresh.items():
        assert paths
        for path in paths:
            assert set(pq.read_table(path)["molecule_id"].to_pylist()) == {"n-heptane"}, table
    for table, key in (("atomistic", "run_id"), ("potentials", "potential_id"), ("coarse", "run_id")):
        assert ids(made, table, key) > ids(release, table, key)
        old = pq.read_table(release / "data" / f"{table}.parquet")
        new = pq.read_table(made / "data" / f"{table}.parquet")
        kept = new.filter([name in ids(release, table, key) for name in new[key].to_pylist()])
        assert kept.equals(old)
    differences = json.loads((made / "diff.json").read_text())
    assert differences["molecules"]["added"] == ["n-heptane"]
    assert differences["tables"]["coarse"]["removed"] == 0
    assert differences["tables"]["coarse"]["changes"] == []
    assert validate(made) == []


def test_published_row_wins_over_a_record_with_its_id(tmp_path, inputs, release, repository, models_dir):
    changed, run = changed_benzene(inputs, tmp_path, density_kg_m3_se=1.7)
    made = build_release(
        changed.records,
        inputs.molecules,
        "2026.12.0-test",
        tmp_path / "releases",
        base_release=release,
        models=[models_dir / "mobcg"],
        repository=repository,
        commit=COMMIT,
    )
    rows = pq.read_table(made / "data" / "atomistic.parquet", filters=[("run_id", "==", run)]).to_pylist()
    assert rows[0]["density_kg_m3_se"] == 0.8


def test_removed_molecule_leaves_and_the_diff_says_so(tmp_path, inputs, release, repository, models_dir):
    molecules = [row for row in inputs.molecules if row["molecule_id"] != "benzene"]
    plan = make_plan(tmp_path / "plan", ("neopentane", "ethylbenzene"))
    evaluations = Chain(tmp_path / "records", plan).paths()["evaluation"]
    made = build_release(
        {"evaluation": evaluations},
        molecules,
        "2026.12.0-test",
        tmp_path / "releases",
        base_release=release,
        models=[models_dir / "mobcg"],
        repository=repository,
        commit=COMMIT,
    )
    differences = json.loads((made / "diff.json").read_text())
    assert differences["molecules"]["removed"] == ["benzene"]
    assert differences["tables"]["atomistic"]["removed"] == 2
    for table in ("atomistic", "potentials", "coarse", "evaluation", "force_fields"):
        assert "benzene" not in ids(made, table, "molecule_id")


def test_new_replicas_of_a_model_and_liquid_replace_all_the_old(tmp_path, inputs, release, repository, models_dir):
    """Two protocols in one mean would be neither."""
    fresh = []
    for path in inputs.records["evaluation"]:
        rows = [row for row in read_rows(path) if row["replica"] == 0 and row["model"] == "ibi"]
        if rows:
            fresh.append(tmp_path / path.name)
            write_rows(fresh[-1], "evaluation", rows)
    options = {"models": [models_dir / "mobcg"], "repository": repository, "base_release": release}
    made = build_release({"evaluation": fresh}, inputs.molecules, "2026.12.0", tmp_path / "releases", **options)
    columns = ["molecule_id", "model", "scale_factor", "replica"]
    before, after = (
        pq.read_table(place / "data/evaluation.parquet", columns=columns).to_pylist() for place in (release, made)
    )
    assert after == [row for row in before if row["model"] != "ibi" or row["replica"] == 0]


def test_models_that_are_not_trained_again_stay_with_their_scores(tmp_path, inputs, release, repository, models_dir):
    base = shutil.copytree(release, tmp_path / "base" / VERSION)
    matched = base / "models/force_matched/benzene/schnet"
    shutil.copytree(models_dir / "mobcg", matched)
    options = {"repository": repository, "base_release": base}
    made = build_release({"evaluation": []}, inputs.molecules, "2026.12.0", tmp_path / "releases", **options)
    assert (made / "models/mobcg/model.json").is_file()
    assert (made / "models/force_matched/benzene/schnet/model.json").is_file()
    assert ids(made, "evaluation", "model") == ids(release, "evaluation", "model")
    # A model that is trained again takes its scores with it, and a liquid that leaves its force-matched ones.
    save_weights(tmp_path / "mobcg", "mobcg", {}, {"layer": np.zeros(3)})
    others = [row for row in inputs.molecules if row["molecule_id"] != "benzene"]
    options |= {"models": [tmp_path / "mobcg"]}
    made = build_release({"evaluation": []}, others, "2026.12.1", tmp_path / "releases", **options)
    assert not (made / "models/force_matched").exists()
    assert not any(name.startswith("mobcg") for name in ids(made, "evaluation", "model"))
    assert (made / "models/mobcg/model.json").read_bytes() == (tmp_path / "mobcg/model.json").read_bytes()


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("2026.10.0-test", "2026.11.1-test"),
        ("2026.11.0-test", "2026.11.1-test"),
        ("2026.11.0-other-scale", "2026.11.0-other-scale"),
        ("2026.10.7", "2026.11.0"),
        ("2026.12.0", "2026.12.0"),
    ],
)
def test_a_release_has_no_version_of_its_base(asked, expected, tmp_path, inputs, release, repository):
    """Wherever the base lies."""
    options = {"repository": repository, "base_release": release}
    made = build_release({"evaluation": []}, inputs.molecules, asked, tmp_path, **options)
    assert made.name == expected


def test_failed_runs_stay_with_their_reason(release):
    rows = pq.read_table(release / "data" / "coarse.parquet").to_pylist()
    failed = [row for row in rows if row["status"] == "failed"]
    assert failed
    assert all(row["reason"] and row["diffusion_nm2_ns"] is None for row in failed)
    assert not ids(release, "splits") & {row["run_id"] for row in failed}


def test_impossible_record_is_not_published(tmp_path, inputs, repository):
    changed, run = changed_benzene(inputs, tmp_path, diffusion_nm2_ns=1500.0)
    with pytest.raises(InputError, match=rf"(?s)atomistic {run} diffusion_nm2_ns.*MSD"):
        build_release(changed.records, inputs.molecules, VERSION, tmp_path / "releases", repository=repository)
    assert [path.name for path in (tmp_path / "releases").iterdir()] == [".lock"]


def test_two_records_of_one_id_are_refused(tmp_path, inputs):
    twice = inputs.records | {"atomistic": [*inputs.records["atomistic"], inputs.records["atomistic"][0]]}
    with pytest.raises(InputError, match=inputs.records["atomistic"][0].stem):
        build_training_set(twice, inputs.molecules, VERSION, tmp_path / "tables")


def test_truncated_record_is_refused(tmp_path, inputs):
    path = tmp_path / "short.parquet"
    path.write_bytes(inputs.records["coarse"][0].read_bytes()[:-100])
    with pytest.raises(InputError, match="coarse"):
        build_training_set(inputs.records | {"coarse": [path]}, inputs.molecules, VERSION, tmp_path / "tables")


@pytest.mark.parametrize("table", ["atomistic", "potentials", "coarse", "evaluation"])
def test_missing_record_is_named(tmp_path, inputs, repository, table):
    records = inputs.records | {table: [*inputs.records[table], tmp_path / "gone.parquet"]}
    with pytest.raises(InputError, match=rf"records of {table}.*gone\.parquet"):
        build_release(records, inputs.molecules, VERSION, tmp_path / "releases", repository=repository)


def test_link_among_the_models_is_refused(tmp_path, inputs, repository):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "weights.npz").symlink_to("/etc/hostname")
    with pytest.raises(InputError, match="link"):
        build_release(
            inputs.records,
            inputs.molecules,
            VERSION,
            tmp_path / "releases",
            models=[tmp_path / "models"],
            repository=repository,
        )


@pytest.mark.parametrize("version", ["2026.13.0", "2026.1", "../2026.1.0", "2026.1.0-a/b", "latest"])
def test_version_must_be_a_calendar_version(version, tmp_path, inputs):
    with pytest.raises(InputError, match="version"):
        build_release(inputs.records, inputs.molecules, version, tmp_path)


def test_command_line_builds_both_and_names_the_release(tmp_path, inputs, repository, models_dir, capsys):
    described = inputs.write(tmp_path / "inputs.json")
    common = ["--inputs", str(described), "--version", VERSION, "--repository", str(repository)]
    assert main([*common, "--training-set", str(tmp_path / "tables")]) == 0
    places = ["--releases", str(tmp_path / "releases"), "--published", str(tmp_path / "name.txt")]
    assert main([*common, *places, "--models", str(models_dir / "mobcg"), "--scale", "test", "--rough"]) == 0
    assert footer_of(tmp_path / "releases" / VERSION / "data" / "coarse.parquet").items() >= {
        ("scale", "test"),
        ("rough", "true"),
    }
    assert (tmp_path / "name.txt").read_text() == f"{VERSION}\n"
    assert capsys.readouterr().out.split() == [str(tmp_path / "tables"), str(tmp_path / "releases" / VERSION)]
    assert main([*common[:3], "yesterday"]) == 2


def test_reused_record_is_the_row_of_the_base(tmp_path, release, inputs):
    for room, table, key in (("atomistic", "atomistic", "run_id"), ("inversion", "potentials", "potential_id")):
        source = inputs.records[table][0]
        command = ["--base", str(release), "--room", room, "--id", source.stem, "--out", str(tmp_path / "row.parquet")]
        subprocess.run([sys.executable, "-m", "mobcg.database.reuse", *command], check=True)
        row, original = read_record(tmp_path / "row.parquet"), read_record(source)
        assert row.keys() == original.keys()
        assert row[key] == source.stem
        for name, value in original.items():
            np.testing.assert_array_equal(row[name], value)


def test_an_interim_release_holds_what_is_finished_and_is_a_base_to_go_on_from(tmp_path, plan, inputs, repository):
    """One inversion, the shards below it and the scores are not there yet: a valid release all the same."""
    unfinished = list(plan.inversions)[-1]
    late = {name for name, shard in plan.shards.items() if unfinished in str(shard)}
    missing = {unfinished, *late}
    asked = {
        "atomistic": inputs.records["atomistic"],
        **{
            table: [tmp_path / path.name if path.stem in missing else path for path in inputs.records[table]]
            for table in ("potentials", "coarse")
        },
    }
    there = finished(asked)
    assert len(there["potentials"]) == len(asked["potentials"]) - 1
    assert len(there["coarse"]) == len(asked["coarse"]) - len(late) < len(asked["coarse"])
    made = build_release(there, inputs.molecules, "2026.12.0-interim", tmp_path / "releases", repository=repository)
    assert validate(made) == []
    again = make_plan(tmp_path / "plan", base_release=made)
    assert again.to_simulate("atomistic") == []
    assert again.to_simulate("inversions") == [unfinished]
    assert set(again.to_simulate("shards")) == late
    # Its version is free, but what goes on from a release is later than it.
    place = tmp_path / "releases"
    later = build_release(there, inputs.molecules, "2026.11.0-interim", place, made, repository=repository)
    assert later.name == "2026.12.1-interim"
