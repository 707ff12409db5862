"""Bead trajectories beside the release: round trip, publication, checks, download, and the way back."""

import json
import shutil
import subprocess
import sys

import mlcroissant
import numpy as np
import pint
import polars as pl
import pyarrow.parquet as pq
import pytest
import yaml
from frictionless import Package
from frictionless.resources import TableResource

import mobcg
from mobcg.database.build import build_release
from mobcg.database.card import card
from mobcg.database.dataset import load_trajectory
from mobcg.database.download import DownloadError, download
from mobcg.database.download import main as download_main
from mobcg.database.manifest import sha256_of
from mobcg.database.trajectories import (
    FORCE_STEP_KJ_MOL_NM,
    POSITION_STEP_NM,
    main,
    of_sound_runs,
    offers,
    read_index,
    read_trajectory,
    restore,
    write_trajectory,
)
from mobcg.database.validate import validate
from mobcg.errors import InputError
from mobcg.observables import BeadTrajectory, MoleculeBeads, radial_distribution, self_diffusion
from mobcg.plan import canonical_json, run_id
from mobcg.records import read_record
from tests.database.cases import COMMIT, VERSION, Chain, Editable, make_plan, write_models

SPEC = {"kind": "atomistic", "molecule": {"id": "benzene"}, "replica": 0}
TRAJECTORY = "trajectories.json"


def liquid(n_beads=40, n_frames=500, seed=1, box_nm=3.3, mass_g_mol=5.0, **changes) -> BeadTrajectory:
    """Return beads that leave their box and come back: each walks at random around a drift, some through many boxes."""
    random = np.random.default_rng(seed)
    steps = random.normal(0, 0.04, (n_frames, n_beads, 3))
    steps[0] = random.uniform(-2 * box_nm, 2 * box_nm, (n_beads, 3))
    steps[1:, 0, 0] += 0.3
    fields = {
        "positions_nm": steps.cumsum(axis=0).astype(np.float32).astype(np.float64),
        "box_length_nm": box_nm,
        "frame_ps": 1.0,
        "mass_g_mol": mass_g_mol,
        "temperature_k": 298.15,
        "forces_kj_mol_nm": random.normal(0, 200, (n_frames, n_beads, 3)).astype(np.float32),
        "metadata": {
            "status": "ok",
            "reason": None,
            "density_kg_m3": 873.123456789,
            "potential_kj_mol": random.normal(-5000, 40, n_frames).tolist(),
            "versions": {"gmx": "2022.5"},
        },
    }
    return BeadTrajectory(**(fields | changes))


def failed(n_beads=40) -> BeadTrajectory:
    metadata = {"status": "failed", "reason": "it blew up", "versions": {}}
    return BeadTrajectory(np.zeros((0, n_beads, 3)), float("nan"), 1.0, 78.0, 298.15, metadata=metadata)


# The file


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "beads.parquet"
    write_trajectory(path, liquid(), SPEC)
    return path


def test_what_is_read_is_what_was_written_but_for_rounding(packed):
    original, back = liquid(), read_trajectory(packed)
    assert back.header == original.header
    assert np.abs(back.positions_nm - original.positions_nm).max() <= POSITION_STEP_NM / 2 * (1 + 1e-6)
    assert np.abs(back.forces_kj_mol_nm - original.forces_kj_mol_nm).max() <= FORCE_STEP_KJ_MOL_NM / 2
    assert original.positions_nm.max() > 10 * original.box_length_nm  # some bead did go far


def test_structure_and_mobility_are_those_of_the_original(packed):
    original, back = liquid(), read_trajectory(packed)
    before, after = self_diffusion(original), self_diffusion(back)
    assert abs(after.diffusion_nm2_ns - before.diffusion_nm2_ns) < 1e-3 * before.diffusion_nm2_ns_se
    before, after = (radial_distribution(each.positions_nm, each.box_length_nm) for each in (original, back))
    inside = before.rdf_se > 0
    deviation = (after.rdf - before.rdf)[inside] / before.rdf_se[inside]
    assert 0 < np.sqrt(np.mean(deviation**2)) < 0.3


def test_the_same_trajectory_gives_the_same_bytes(packed, tmp_path):
    write_trajectory(tmp_path / "again.parquet", liquid(), SPEC)
    assert (tmp_path / "again.parquet").read_bytes() == packed.read_bytes()


def test_the_file_explains_itself(packed):
    schema = pq.read_schema(packed)
    units = {name: schema.field(name).metadata[b"unit"].decode() for name in schema.names}
    assert units == {
        "time_ps": "ps",
        "potential_kj_mol": "kJ/mol",
        "positions_nm": "nm",
        "images": "",
        "forces_kj_mol_nm": "kJ/mol/nm",
    }
    registry = pint.UnitRegistry()
    for name in schema.names:
        assert registry.parse_units(units[name] or "dimensionless") is not None
        assert len(schema.field(name).metadata[b"description"]) > 10
    known = {key.decode(): value.decode() for key, value in schema.metadata.items()}
    assert known["run_id"] == run_id(SPEC)
    assert known["spec"] == canonical_json(SPEC)
    assert known["license"] == "CC-BY-4.0"
    assert json.loads(known["box_length_nm"]) == 3.3
    assert json.loads(known["rounding"]) == {"positions_nm": 2**-13, "forces_kj_mol_nm": 0.5}
    assert json.loads(known["metadata"])["versions"] == {"gmx": "2022.5"}


def test_any_reader_of_parquet_gets_wrapped_positions_and_forces(packed):
    original, frames = liquid(), pl.read_parquet(packed)
    assert frames["time_ps"].to_list() == list(range(500))
    assert frames["potential_kj_mol"].to_list() == original.metadata["potential_kj_mol"]
    positions = np.stack(frames["positions_nm"].to_numpy())
    assert positions.shape == (500, 120)
    assert (positions >= 0).all()
    assert (positions <= 3.3 + POSITION_STEP_NM).all()
    unwrapped = positions + 3.3 * np.stack(frames["images"].to_numpy())
    np.testing.assert_allclose(unwrapped.reshape(500, 40, 3), original.positions_nm, atol=1e-4)


def test_rounding_halves_the_file(packed, tmp_path):
    liquid().save(tmp_path / "beads.npz")
    assert packed.stat().st_size < 0.6 * (tmp_path / "beads.npz").stat().st_size


def test_several_beads_of_a_molecule_stay_together(tmp_path):
    molecule = MoleculeBeads((40.0, 38.1), (0, 1), ((0, 1),))
    original = liquid(molecule=molecule)
    together = original.positions_nm[:, ::2] + 0.1
    original.positions_nm[:, 1::2] = together
    write_trajectory(tmp_path / "pairs.parquet", original, SPEC)
    back = read_trajectory(tmp_path / "pairs.parquet")
    assert back.molecule == molecule
    np.testing.assert_allclose(back.centres().positions_nm, original.centres().positions_nm, atol=1e-4)


def test_without_forces_and_energies(tmp_path):
    bare = liquid(forces_kj_mol_nm=None, metadata={"status": "ok"})
    write_trajectory(tmp_path / "bare.parquet", bare, SPEC)
    back = read_trajectory(tmp_path / "bare.parquet")
    assert back.forces_kj_mol_nm is None
    assert back.metadata == {"status": "ok"}


def test_a_failed_run_comes_back_as_one(tmp_path):
    write_trajectory(tmp_path / "failed.parquet", failed(), SPEC)
    back = read_trajectory(tmp_path / "failed.parquet")
    assert back.metadata == failed().metadata
    assert back.positions_nm.shape == (0, 40, 3)
    assert offers([tmp_path / "failed.parquet"], None, tmp_path) == []


def test_energies_of_other_frames_are_refused(tmp_path):
    other = liquid(metadata={"status": "ok", "potential_kj_mol": [1.0]})
    with pytest.raises(InputError, match="500, one a frame"):
        write_trajectory(tmp_path / "x.parquet", other, SPEC)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kept", [0, 100, 0.5, -1])
def test_torn_file_is_refused(packed, tmp_path, kept):
    content = packed.read_bytes()
    (tmp_path / "torn.parquet").write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(InputError, match=r"torn\.parquet"):
        read_trajectory(tmp_path / "torn.parquet")


def test_other_tables_and_later_schemas_are_refused(packed, release, tmp_path):
    with pytest.raises(InputError, match="whole bead trajectory"):
        read_trajectory(release / "data" / "coarse.parquet")
    table = pq.read_table(packed)
    pq.write_table(
        table.replace_schema_metadata({**table.schema.metadata, b"schema_version": b"9.0.0"}), tmp_path / "x"
    )
    with pytest.raises(InputError, match=r"9\.0\.0"):
        read_trajectory(tmp_path / "x")


def test_command_line_packs(tmp_path):
    liquid().save(tmp_path / "beads.npz")
    words = ["--beads", str(tmp_path / "beads.npz"), "--out", str(tmp_path / "out.parquet")]
    command = [sys.executable, "-m", "mobcg.database.trajectories", *words, "--spec", canonical_json(SPEC)]
    subprocess.run(command, check=True)
    assert read_trajectory(tmp_path / "out.parquet").header == liquid().header
    (tmp_path / "beads.npz").write_bytes(b"PK")
    assert main([*words, "--spec", canonical_json(SPEC)]) == 2
    with pytest.raises(SystemExit):
        main(words)


# Releases


@pytest.fixture(scope="module")
def runs(plan):
    """The pristine runs of the plan."""
    return [run for run, spec in plan.atomistic.items() if spec["force_field"]["kind"] == "pristine"]


def pack(directory, plan, inputs, runs):
    """Write packed trajectories of runs, in the box that their record says."""
    rows = {path.stem: read_record(path) for path in inputs.records["atomistic"]}
    paths = []
    for seed, run in enumerate(runs):
        beads = liquid(rows[run]["n_molecules"], 20, seed, rows[run]["box_length_nm"])
        paths.append(directory / f"{run}.parquet")
        write_trajectory(paths[-1], beads, plan.atomistic[run])
    return paths


@pytest.fixture(scope="module")
def files(tmp_path_factory, plan, inputs, runs):
    return pack(tmp_path_factory.mktemp("packed"), plan, inputs, runs)


@pytest.fixture(scope="module")
def publishing(tmp_path_factory, inputs, repository, files):
    """A release of the first three runs' trajectories, and of one that failed all the same."""
    return publish(tmp_path_factory.mktemp("releases"), inputs, repository, files[:3])


def publish(releases, inputs, repository, packed, **options):
    words = {"repository": repository, "commit": COMMIT, "packed": packed, **options}
    words["models"] = [write_models(releases.with_name("models")) / "mobcg"]
    return build_release(inputs.records, inputs.molecules, VERSION, releases, **words)


@pytest.fixture
def mine(publishing, tmp_path):
    """A copy of the release and of what lies beside it."""
    releases = shutil.copytree(publishing.parent, tmp_path / "mine")
    return releases / publishing.name


def change_index(release, tmp_path, change):
    """Change the rows of trajectories.json, and sign the release again."""
    rows = json.loads((release / TRAJECTORY).read_text())
    change(rows)
    (release / TRAJECTORY).write_text(json.dumps(rows))
    editable = Editable(release, tmp_path / "signed")
    editable.sign()
    return editable.path


def test_release_names_what_lies_beside_it(publishing, runs, plan):
    rows = read_index(publishing)
    assert {row["run_id"] for row in rows} == set(runs[:3])
    for row in rows:
        path = publishing.parent / "trajectories" / f"{row['run_id']}.parquet"
        assert (row["file"], row["bytes"], row["sha256"]) == (path.name, path.stat().st_size, sha256_of(path))
        assert row["beads"] == plan.atomistic[row["run_id"]]["n_molecules"]
        assert row["frames"] == 20
    assert validate(publishing) == []


def test_it_is_listed_described_and_summed_only_where_there_is_any(publishing, release):
    assert f"  {TRAJECTORY}\n" in (publishing / "SHA256SUMS").read_text()
    for name in ("README.md", "datapackage.json", "croissant.json", "ro-crate-metadata.json", "SHA256SUMS"):
        assert "trajectories" in (publishing / name).read_text(), name
        assert "trajectories" not in (release / name).read_text(), name
    assert not (release / TRAJECTORY).exists()
    assert not (release.parent / "trajectories").exists()
    text = card(publishing)
    assert f'mobcg.load_trajectory("{read_index(publishing)[0]["molecule_id"]}"' in text
    assert "| `forces_kj_mol_nm` | list of float | kJ/mol/nm |" in text
    yaml.safe_load(text.split("---\n")[1])


def test_descriptors_are_read_by_their_tools(publishing):
    package = Package(str(publishing / "datapackage.json"))
    assert list(Package.metadata_validate(package.to_descriptor())) == []
    schema = package.get_resource("trajectories").schema
    schema.foreign_keys = []  # of the package; this is one table by itself
    read = TableResource(data=json.loads((publishing / TRAJECTORY).read_text()), schema=schema).read_rows()
    assert all(row.valid for row in read)
    assert [row["run_id"] for row in read] == [row["run_id"] for row in read_index(publishing)]
    dataset = mlcroissant.Dataset(jsonld=str(publishing / "croissant.json"))
    assert dataset.metadata.ctx.issues.errors == set()


def test_no_trajectory_is_needed_to_pass(mine):
    shutil.rmtree(mine.parent / "trajectories")
    assert validate(mine) == []


def test_another_file_beside_the_release_is_found(mine):
    row = read_index(mine)[0]
    path = mine.parent / "trajectories" / row["file"]
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert [(found.table, found.field) for found in validate(mine)] == [(f"trajectories/{path.name}", "sha256")]
    path.unlink()
    path.symlink_to("/etc/hostname")
    assert [found.value for found in validate(mine)] == ["a link"]


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("run_id", "0123456789abcdef", "a sound run"),
        ("molecule_id", "water", "as the run"),
        ("box_length_nm", 9.0, "as the run"),
        ("beads", 7, "a multiple of the"),
        ("frames", 21, "frames 20 of the file"),
        ("bytes", 1, "of the file"),
        ("frames", "many", "int64"),
        ("file", "../../x.parquet", "RUN_ID.parquet"),
        ("file", None, "name of the file"),
    ],
)
def test_wrong_index_is_refused_even_when_signed(mine, tmp_path, column, value, rule):
    signed = change_index(mine, tmp_path, lambda rows: rows[0].update({column: value}))
    shutil.copytree(mine.parent / "trajectories", signed.parent / "trajectories", dirs_exist_ok=True)
    findings = validate(signed)
    assert any(rule in finding.rule for finding in findings), findings
    assert {finding.table for finding in findings} == {TRAJECTORY}


def test_trajectory_of_a_failed_run_is_refused_and_never_named(mine, tmp_path, files):
    editable = Editable(mine, tmp_path / "editable")
    name = read_index(mine)[0]["run_id"]
    number = next(number for number, row in enumerate(editable.rows("atomistic")) if row["run_id"] == name)
    editable.change("atomistic", number, status="failed", reason="frozen")
    assert (TRAJECTORY, name) in {(finding.table, finding.row) for finding in validate(editable.path)}
    named = of_sound_runs(offers(files[:3], None, tmp_path), editable.table("atomistic"))
    assert [offer.row["run_id"] for offer in named] == [row["run_id"] for row in read_index(mine)[1:]]


def test_publishing_again_repairs_what_is_missing_and_touches_nothing_else(mine, inputs, repository, files):
    lost, kept, *_ = sorted((mine.parent / "trajectories").iterdir())
    lost.unlink()
    before = kept.stat().st_mtime_ns, kept.stat().st_ino
    assert publish(mine.parent, inputs, repository, files[:3]) == mine
    assert validate(mine) == []
    assert lost.is_file()
    assert (kept.stat().st_mtime_ns, kept.stat().st_ino) == before


def test_published_file_is_never_replaced_by_another_simulation_of_its_run(
    mine, tmp_path, plan, inputs, repository, files
):
    """The new release names the new file under a longer name; the old release stays right."""
    run = files[0].stem
    row = next(row for row in read_index(mine) if row["run_id"] == run)
    other = tmp_path / files[0].name
    beads = liquid(row["beads"], 20, 99, row["box_length_nm"])
    write_trajectory(other, beads, plan.atomistic[run])
    made = publish(mine.parent, inputs, repository, [other, *files[1:3]])
    assert made.name == "2026.11.1-test"
    file = next(row["file"] for row in read_index(made) if row["run_id"] == run)
    assert file == f"{run}-{sha256_of(other)[:8]}.parquet"
    assert validate(made) == validate(mine) == []
    assert load_trajectory(run, made).header == beads.header
    assert load_trajectory(run, mine).header != beads.header


@pytest.mark.parametrize("beside", [True, False])
def test_trajectories_of_the_base_are_carried_over(mine, tmp_path, inputs, repository, models_dir, files, beside):
    if not beside:
        shutil.rmtree(mine.parent / "trajectories")
    plan = make_plan(tmp_path / "plan", ("neopentane", "ethylbenzene"))
    evaluations = Chain(tmp_path / "records", plan).paths()["evaluation"]
    molecules = [row for row in inputs.molecules if row["molecule_id"] != "benzene"]
    options = {"base_release": mine, "models": [models_dir / "mobcg"], "repository": repository, "packed": files[3:]}
    made = build_release({"evaluation": evaluations}, molecules, "2026.12.0-test", tmp_path / "new", **options)
    assert validate(made) == []
    old = {row["run_id"]: row for row in read_index(mine) if row["molecule_id"] != "benzene"}
    new = {row["run_id"]: row for row in read_index(made)}
    assert 0 < len(old) < len(read_index(mine))
    assert new == old | {path.stem: new[path.stem] for path in files[3:] if path.stem in new}
    assert len(new) > len(old)
    there = {path.stem for path in (tmp_path / "new" / "trajectories").iterdir()}
    assert there == (set(new) if beside else set(new) - set(old))


# Use


def test_one_line_loads_a_run(publishing, runs, plan, monkeypatch):
    run = read_index(publishing)[0]["run_id"]
    beads = mobcg.load_trajectory(run, release=publishing)
    assert isinstance(beads, BeadTrajectory)
    assert beads.positions_nm.shape == (20, plan.atomistic[run]["n_molecules"], 3)
    molecule, replica = plan.atomistic[run]["molecule"]["id"], plan.atomistic[run]["replica"]
    np.testing.assert_array_equal(
        load_trajectory(molecule, publishing, replica=replica).positions_nm, beads.positions_nm
    )
    with pytest.raises(InputError, match=r"water.*benzene \(replica 0\)"):
        load_trajectory("water", publishing)
    with pytest.raises(InputError, match="replica 7"):
        load_trajectory(molecule, publishing, replica=7)


def test_loading_says_what_is_missing(mine, release):
    run = read_index(mine)[0]["run_id"]
    path = mine.parent / "trajectories" / f"{run}.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(InputError, match="SHA-256"):
        load_trajectory(run, mine)
    path.unlink()
    advice = f"mobcg release download {mine.name} --trajectories --from ADDRESS --to {mine.parent}"
    with pytest.raises(InputError, match=advice):
        load_trajectory(run, mine)
    with pytest.raises(InputError, match="publishes bead trajectories"):
        load_trajectory("benzene", release)


def test_download_brings_them_when_asked(publishing, tmp_path, capsys):
    source, to = str(publishing.parent), tmp_path / "to"
    made = download(publishing.name, source, to)
    assert not (to / "trajectories").exists()
    assert download_main([publishing.name, "--from", source, "--to", str(to), "--trajectories"]) == 0
    assert capsys.readouterr().out == f"{made}\n"
    assert sorted(path.name for path in to.iterdir()) == [publishing.name, "trajectories"]
    assert validate(made) == []
    lost = to / "trajectories" / read_index(made)[0]["file"]
    lost.unlink()
    kept = {path: path.stat().st_mtime_ns for path in (to / "trajectories").iterdir()}
    download(publishing.name, source, to, trajectories=True)
    assert lost.is_file()
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_download_believes_no_other_file(mine, release, tmp_path):
    path = mine.parent / "trajectories" / read_index(mine)[-1]["file"]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"?")
    with pytest.raises(DownloadError, match="does not have the SHA-256"):
        download(mine.name, str(mine.parent), tmp_path / "to", trajectories=True)
    assert (tmp_path / "to" / mine.name).is_dir()
    assert not (tmp_path / "to" / "trajectories").exists()
    path.write_bytes(content)
    assert validate(download(mine.name, str(mine.parent), tmp_path / "to", trajectories=True)) == []
    (tmp_path / "to" / "trajectories" / path.name).write_bytes(b"mine")
    with pytest.raises(InputError, match="Delete it and download again"):
        download(mine.name, str(mine.parent), tmp_path / "to", trajectories=True)
    with pytest.raises(DownloadError, match="larger"):
        download(mine.name, str(mine.parent), tmp_path / "small", max_bytes=mine_bytes(mine) + 1000, trajectories=True)
    with pytest.raises(InputError, match="--trajectories"):
        download(release.name, str(release.parent), tmp_path / "none", trajectories=True)


def mine_bytes(release):
    return max(path.stat().st_size for path in release.rglob("*") if path.is_file())


def test_restored_beads_are_those_of_the_run(publishing, tmp_path, runs):
    row = read_index(publishing)[0]
    words = ["--restore", row["run_id"], "--base", str(publishing), "--out", str(tmp_path / "beads.npz")]
    assert main(words) == 0
    back = BeadTrajectory.load(tmp_path / "beads.npz")
    published = load_trajectory(row["run_id"], publishing)
    assert back.header == published.header
    np.testing.assert_allclose(back.positions_nm, published.positions_nm, atol=2e-6)
    np.testing.assert_array_equal(back.forces_kj_mol_nm, published.forces_kj_mol_nm)
    assert main([*words[:1], runs[3], *words[2:]]) == 2
    with pytest.raises(InputError, match="run_id"):
        restore(publishing, runs[3], tmp_path / "x.npz")


def test_plan_knows_which_beads_the_base_release_has(mine, tmp_path, runs, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = make_plan(tmp_path / "plan", base_release=mine)
    named = {row["run_id"] for row in read_index(mine)}
    assert plan.reused["trajectories"] == named
    here, restored = "results/atomistic/{}.npz", "results/reused/atomistic/{}.npz"
    assert {run: plan.beads_path(run) for run in runs} == {
        run: (restored if run in named else here).format(run) for run in runs
    }
    run = min(named)
    (tmp_path / "results/atomistic").mkdir(parents=True)
    (tmp_path / here.format(run)).touch()
    assert plan.beads_path(run) == restored.format(run)  # whatever lies here
    (mine.parent / "trajectories" / f"{max(named)}.parquet").unlink()
    assert make_plan(tmp_path / "plan", base_release=mine).reused["trajectories"] == named - {max(named)}
    (mine / TRAJECTORY).write_text("{")
    with pytest.raises(InputError, match=TRAJECTORY):
        make_plan(tmp_path / "plan", base_release=mine)
