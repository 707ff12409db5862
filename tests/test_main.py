import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from mobcg import __version__
from mobcg.__main__ import main, runnable_plan
from mobcg.errors import InputError

REPOSITORY = Path(__file__).parents[1]
needs_gromacs = pytest.mark.skipif(
    shutil.which("gmx") is None and "GMXDATA" not in os.environ, reason="no GROMACS, so no oplsaa.ff to check against"
)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with a copy of config/ in which the command is called, for a scale that needs no release."""
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    (tmp_path / "config/config.yaml").write_text("scale: quick\nversion: 2026.11.0\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(cwd: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run the command as a user does, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "mobcg", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_a_missing_library_stops_a_run_and_no_estimate(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mobcg.__main__.FORCE_MATCHING_LIBRARIES", {"schnet": "no_such_library"})
    with pytest.raises(InputError, match=r"no Python module no_such_library.*setup\.sh forcematch"):
        runnable_plan({"version": "2026.11.0", "scale": "pilot"})
    assert main(["estimate", "--scale", "pilot"]) == 0


@pytest.mark.parametrize("scale", ["demo", "quick", "pilot", "study", "workstation", "paper"])
def test_make_installs_the_libraries_that_a_scale_needs(scale: str) -> None:
    matched = "forcematch" in yaml.safe_load((REPOSITORY / f"config/scale/{scale}.yaml").read_text())
    words = ["make", "--no-print-directory", "-n", "setup", f"SCALE={scale}"]
    bare = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    told = subprocess.run(words, cwd=REPOSITORY, env=bare, capture_output=True, text=True, check=True).stdout
    assert told.split() == ["scripts/setup.sh", *(["forcematch"] if matched else [])]


def test_version(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"mobcg {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [[], ["molecule"], ["release"], ["fly"], ["molecule", "draft"], ["molecule", "check"], ["status", "--size", "1"]],
)
def test_a_wrong_command_line_is_explained(arguments: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: mobcg" in capsys.readouterr().err


# mobcg molecule


@needs_gromacs
def test_a_draft_passes_the_check(house: Path) -> None:
    drafted = call(house, "molecule", "draft", "CCCCCCC", "--id", "n-heptane", "--density-kg-m3", "679.5")
    assert (drafted.returncode, drafted.stderr) == (0, "")
    (house / "config/molecules/n-heptane.yaml").write_text(drafted.stdout)
    checked = call(house, "molecule", "check", "config/molecules/n-heptane.yaml")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout == "config/molecules/n-heptane.yaml: n-heptane, C7H16, 100.205 g/mol: fine\n"


@needs_gromacs
def test_a_draft_whose_density_is_still_a_guess_is_not_fine(house: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["molecule", "draft", "Cc1ccccc1"]) == 0
    text = capsys.readouterr().out
    Path("new-molecule.yaml").write_text(text)
    assert main(["molecule", "check", "new-molecule.yaml"]) == 2
    assert "reference_density_kg_m3: found '700, guess" in capsys.readouterr().err
    measured = text.replace("700.0", "862.2").replace("guess, to be replaced", "measured by a friend")
    Path("new-molecule.yaml").write_text(measured)
    assert main(["molecule", "check", "new-molecule.yaml"]) == 0
    Path("new-molecule.yaml").write_text(measured.replace("862.2", "0.8622"))
    assert main(["molecule", "check", "new-molecule.yaml"]) == 2
    assert "reference_density_kg_m3" in capsys.readouterr().err


@needs_gromacs
def test_the_shipped_molecules_pass(house: Path, capsys: pytest.CaptureFixture) -> None:
    files = sorted(map(str, Path("config/molecules").glob("*.yaml")))
    assert main(["molecule", "check", *files]) == 0
    assert capsys.readouterr().out.count(": fine\n") == len(files)


@needs_gromacs
@pytest.mark.parametrize(
    ("smiles", "words"),
    [
        ("CCO", "the elements C and H"),
        ("C[N+](C)(C)C", "the elements C and H"),
        ("[CH3]", "closed-shell"),
        ("[CH2-]C", "neutral"),
        ("C1CC1", "rings of 5 or more"),
        ("C1CCC1", "rings of 5 or more"),
        ("C=C", "no OPLS-AA type"),
        ("CC.C", "one molecule"),
        ("C1CC", "RDKit can read"),
        ("", "RDKit can read"),
        ("*", "the elements C and H"),
        ("$(touch hacked)", "RDKit can read"),
        ("C;touch hacked", "RDKit can read"),
        ("C`touch hacked`", "RDKit can read"),
        ("C\n!!python/object/apply:os.system ['touch hacked']", None),
    ],
)
def test_a_molecule_that_cannot_be_simulated(
    house: Path, capsys: pytest.CaptureFixture, smiles: str, words: str | None
) -> None:
    status = main(["molecule", "draft", smiles])
    printed = capsys.readouterr()
    assert not Path("hacked").exists()
    if words is None:
        # RDKit takes what follows a blank for a name; nothing of it may reach the draft.
        assert "python" not in printed.out
        return
    assert status == 2
    assert printed.out == ""
    assert words in printed.err
    assert smiles[:20] in printed.err
    assert "Traceback" not in printed.err


@needs_gromacs
@pytest.mark.parametrize("molecule_id", ["$(touch hacked)", "a;touch hacked", "../../hacked", "x\nrole: parent", "A B"])
def test_a_wrong_id_is_refused(house: Path, capsys: pytest.CaptureFixture, molecule_id: str) -> None:
    assert main(["molecule", "draft", "CCCCCCC", "--id", molecule_id]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "mobcg molecule draft: id: found" in printed.err
    assert not list(house.rglob("*hacked*"))


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"smiles": "C1CC"}, "smiles"),
        ({"inchikey": "YXFVVABEGXRONW-UHFFFAOYSA-N"}, "inchikey"),
        ({"colour": "red"}, "colour"),
        ({"temperature_k": -1}, "temperature_k"),
        ({"id": "a;touch hacked"}, "id"),
    ],
)
def test_a_wrong_molecule_file(house: Path, capsys: pytest.CaptureFixture, change: dict, key: str) -> None:
    path = Path("config/molecules/benzene.yaml")
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change))
    assert main(["molecule", "check", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"mobcg: config/molecules/benzene.yaml: {key}: found ")
    assert not (house / "hacked").exists()


def test_wrong_input_is_one_line_and_no_traceback_in_a_real_process(house: Path) -> None:
    (house / "bad.yaml").write_text("name: !!python/object/apply:os.system ['touch hacked']\n")
    done = call(house, "molecule", "check", "bad.yaml")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("mobcg: bad.yaml: found ")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (house / "hacked").exists()


# mobcg status, mobcg estimate


@needs_gromacs
@pytest.mark.parametrize(("command", "scale"), [("status", "quick"), ("estimate", "paper")])
def test_status_and_estimate_write_nothing(
    house: Path, capsys: pytest.CaptureFixture, command: str, scale: str
) -> None:
    before = sorted(house.rglob("*"))
    assert main([command, "--scale", scale]) == 0
    printed = capsys.readouterr().out
    words = {"status": ("atomistic", "inversion", "coarse shards", "evaluation"), "estimate": ("simulate_atomistic",)}
    assert all(word in printed for word in words[command])
    assert sorted(house.rglob("*")) == before


@needs_gromacs
@pytest.mark.parametrize("command", ["status", "estimate"])
def test_force_matching_is_told_apart_and_only_where_it_is_asked_for(
    house: Path, capsys: pytest.CaptureFixture, command: str
) -> None:
    word = {"status": "force matching", "estimate": "report_force_matching"}[command]
    assert main([command, "--scale", "pilot", "--target", "forcematch"]) == 0
    assert word in capsys.readouterr().out
    assert main([command, "--scale", "quick", "--target", "forcematch"]) == 2
    assert "--target: found 'forcematch'; allowed: all. Its section" in capsys.readouterr().err


@needs_gromacs
def test_the_scale_of_the_configuration_is_the_default(house: Path, capsys: pytest.CaptureFixture) -> None:
    main(["estimate", "--scale", "workstation"])
    named = capsys.readouterr().out
    (house / "config/config.yaml").write_text("scale: workstation\nversion: 2026.11.0\n")
    main(["estimate"])
    assert capsys.readouterr().out == named


@pytest.mark.parametrize("command", ["status", "estimate"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "config/config.yaml: found 'No such file or directory'"),
        ("- a list", "keys and values"),
        ("", "keys and values"),
        ("version: [", "YAML"),
        ("version: 2026.11.0\ncolour: red", "colour"),
        ("version: 2026.11.0\nscale: huge", "one of demo, paper, pilot, quick, study, workstation"),
        ("version: 2026.11.0\nmolecules_dir: nowhere", "nowhere"),
        ("version: 2026.11.0\nbase_release: nowhere", "base_release"),
    ],
)
def test_a_wrong_configuration(
    house: Path, capsys: pytest.CaptureFixture, command: str, text: str | None, words: str
) -> None:
    path = house / "config/config.yaml"
    path.unlink()
    if text is not None:
        path.write_text(text)
    assert main([command]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("mobcg: ")
    assert words in printed.err


@needs_gromacs
def test_status_stops_at_a_molecule_that_cannot_be_simulated(house: Path, capsys: pytest.CaptureFixture) -> None:
    from mobcg.molecule import draft

    (house / "config/molecules/ethanol.yaml").write_text(draft("CCO", "ethanol"))
    assert main(["status"]) == 2
    assert "config/molecules/ethanol.yaml: smiles: found 'CCO'" in capsys.readouterr().err


@needs_gromacs
def test_status_tells_why_a_run_failed(house: Path, capsys: pytest.CaptureFixture) -> None:
    from mobcg import records
    from mobcg.plan import load_plan

    plan = load_plan({"version": "2026.11.0", "scale": "quick"})
    name, spec = next(iter(plan.atomistic.items()))
    row = {
        "run_id": name,
        "molecule_id": "benzene",
        "force_field_id": "0" * 16,
        "replica": 0,
        "temperature_k": 298.15,
        "pressure_bar": 1.0,
        "n_molecules": 2,
        "status": "failed",
        "spec": spec,
        "versions": {},
    }
    path = Path(plan.record_path("atomistic", name))
    for reason, shown in (("[bold]LINCS[/bold] warnings\nmore", "[bold]LINCS[/bold] warnings"), (None, "no reason")):
        records.write_record(path, "atomistic", {**row, "reason": reason})
        assert main(["status"]) == 0
        assert f"atomistic {name}: failed: {shown}" in capsys.readouterr().out


@needs_gromacs
def test_status_prints_what_runs_and_what_the_words_mean(house: Path, capsys: pytest.CaptureFixture) -> None:
    from mobcg import records
    from mobcg.plan import load_plan

    first, second, *_ = load_plan({"version": "2026.11.0", "scale": "quick"}).atomistic
    logs = Path("results/logs/simulate_atomistic")
    logs.mkdir(parents=True)
    for name, line in ((first, "nvt: [bold] 3 of 10 ps"), (second, "no space left")):
        (logs / f"{name}.log").write_text(f"squeeze\n{line}\n")
    with records.work_directory(Path(f"results/work/atomistic/{second}")):
        pass
    with records.work_directory(Path(f"results/work/atomistic/{first}")):
        assert main(["status"]) == 0
    printed = capsys.readouterr().out
    assert f"atomistic {first}: running: nvt: [bold] 3 of 10 ps" in printed
    assert f"atomistic {second}: stopped: no space left" in printed
    assert "stopped: a job that began" in printed
    assert "failed: a simulation" not in printed
    assert " left at this pace" in printed


@needs_gromacs
def test_an_estimate_as_a_table_and_as_json(house: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["estimate", "--scale", "workstation", "--slots", "10", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(["estimate", "--scale", "workstation", "--slots", "10"]) == 0
    printed = capsys.readouterr().out
    assert (found["scale"], found["slots"]) == ("workstation", 10)
    assert f"{found['core_hours']:.2f}" in printed
    assert "10 jobs at a time on a cluster" in printed
    assert max(map(len, printed.splitlines()[:-3])) <= 80
    # Twice the speed of GROMACS halves its part, and nothing else.
    rows = {}
    for speed in ("100", "200"):
        assert main(["estimate", "--scale", "workstation", "--json", "--ns-day-1000-atoms", speed]) == 0
        rows[speed] = {row["rule"]: row for row in json.loads(capsys.readouterr().out)["rules"]}
    slow, fast = (rows[speed]["simulate_atomistic"]["core_hours"] for speed in ("100", "200"))
    assert slow == pytest.approx(2 * fast, rel=0.01)
    assert rows["100"]["invert"] == rows["200"]["invert"]


@needs_gromacs
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ns-day-1000-atoms", "0"], "--ns-day-1000-atoms: found 0.0"),
        (["--ns-day-1000-beads", "nan"], "--ns-day-1000-beads: found nan"),
        (["--benchmarks", "nowhere"], "--benchmarks: found 'nowhere'"),
    ],
)
def test_a_wrong_rate_is_refused(house: Path, capsys: pytest.CaptureFixture, words: list[str], message: str) -> None:
    assert main(["estimate", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["--cores", "0"], ["--slots", "-1"], ["--slots", "many"], ["--cores", "2", "--slots", "2"]]
)
def test_cores_and_slots_are_counted(words: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["estimate", *words])
    assert caught.value.code == 2
    assert words[0] in capsys.readouterr().err


# mobcg doctor, mobcg release


def test_doctor_shows_advice_as_it_is_written(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("mobcg.doctor.PACKAGES", ("no-such-package",))
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["doctor"]) == 1
    printed = capsys.readouterr().out
    assert "no-such-package" in printed
    assert "mobcg[workflow]" in printed


@pytest.mark.parametrize("name", ["validate", "diff", "download"])
def test_release_hands_its_arguments_on(name: str, capsys: pytest.CaptureFixture) -> None:
    if find_spec(f"mobcg.database.{name}") is None:
        pytest.skip(f"mobcg.database.{name} is not written yet")
    with pytest.raises(SystemExit) as caught:
        main(["release", name, "--help"])
    assert caught.value.code == 0
    assert "usage" in capsys.readouterr().out


def test_an_interim_release_of_nothing_is_refused(house: Path) -> None:
    done = call(house, "release", "interim", "--scale", "quick")
    assert done.returncode == 2
    assert "no finished record" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (house / "releases").exists()
