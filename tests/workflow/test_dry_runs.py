"""Every scale and profile plans; wrong input stops the workflow with a message before anything starts."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from rdkit import Chem
from rdkit.Chem import inchi

from mobcg.config import read_config
from mobcg.jobs import workflow_jobs
from mobcg.plan import load_plan
from tests.workflow.conftest import REPOSITORY, snakemake

SCALES = sorted(path.stem for path in (REPOSITORY / "config/scale").glob("*.yaml"))
HEPTANE = """\
id: n-heptane
name: n-heptane
smiles: CCCCCCC
inchikey: IMNFDUFMRHMDMM-UHFFFAOYSA-N
role: extension
reference_density_kg_m3: 679.6
reference_density_source: reference equation of state, CoolProp 8.0.0 (298.15 K, 1 atm)
"""


@pytest.fixture
def workflow(workflow: Path) -> Path:
    """Return a copy that sees the published releases, as a clone does; nothing is written there."""
    (workflow / "releases").symlink_to(REPOSITORY / "releases")
    return workflow


def job_counts(printed: str) -> dict[str, int]:
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", printed, re.MULTILINE)}


@pytest.mark.parametrize(
    ("scale", "target"),
    [*((scale, "all") for scale in SCALES), *((scale, "forcematch") for scale in ("pilot", "study", "workstation"))],
)
def test_every_scale_plans(workflow: Path, scale: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--profile", "profiles/workstation", "--cores", "2", "-n", "--quiet", "rules")
    done = snakemake(workflow, *words, "--config", f"scale={scale}", "--", target)
    assert done.returncode == 0, done.stderr
    counts = job_counts(done.stdout + done.stderr)
    assert counts["simulate_atomistic"] == counts["observe_atomistic"]
    last = ("write_release", "make_report") if target == "all" else ("report_force_matching",)
    assert {counts[rule] for rule in last} == {1}
    assert sum(counts.values()) - counts["total"] == counts["total"]
    # What `mobcg estimate` and `mobcg status` tell of is what Snakemake would run.
    monkeypatch.chdir(workflow)
    told = Counter(job.rule for job in workflow_jobs(load_plan(read_config() | {"scale": scale}), target))
    assert told == {rule: count for rule, count in counts.items() if rule not in ("all", "forcematch", "total")}


@pytest.mark.parametrize("profile", ["slurm", "profiles/slurm", "profiles/workstation"])
def test_every_profile_plans(workflow: Path, profile: str) -> None:
    # --sdm: the profile for Slurm asks for conda, which a test machine need not have.
    done = snakemake(workflow, "--profile", profile, "--cores", "2", "--sdm", "env-modules", "-n", "--quiet", "rules")
    assert done.returncode == 0, done.stderr
    assert job_counts(done.stdout + done.stderr)["simulate_atomistic"] > 0


def test_no_site_is_named_in_a_rule() -> None:
    rules = "".join(path.read_text() for path in [*(REPOSITORY / "rules").glob("*.smk"), REPOSITORY / "Snakefile"])
    assert not re.findall(r"slurm_\w+|partition|account|constraint:|module load", rules)


def test_a_new_molecule_adds_its_own_runs_only(workflow: Path) -> None:
    words = ("--cores", "2", "-n", "--quiet", "rules", "--config", "scale=quick")
    before = job_counts(snakemake(workflow, *words).stdout)
    (workflow / "config/molecules/n-heptane.yaml").write_text(HEPTANE)
    after = job_counts(snakemake(workflow, *words).stdout)
    added = {rule: after[rule] - before[rule] for rule in after if after[rule] != before.get(rule)}
    assert added["simulate_atomistic"] == added["invert"] == added["simulate_shard"] == 1
    assert added["train"] == 2  # two models of the fold that holds it out


@pytest.mark.parametrize(
    ("smiles", "message"),
    [
        ("c1ccccc", "smiles"),
        ("CCO", "O"),
        ("C1CC1", "ring"),
        ("[CH3-]", "[CH3-]"),
        ("C=C", "C=C"),
        ("C; touch /tmp/mobcg-was-here", "smiles"),
    ],
)
def test_wrong_molecule_stops_the_workflow_with_a_message(workflow: Path, smiles: str, message: str) -> None:
    path = workflow / "config/molecules/n-heptane.yaml"
    parsed = Chem.MolFromSmiles(smiles)
    key = inchi.MolToInchiKey(parsed) if parsed else "IMNFDUFMRHMDMM-UHFFFAOYSA-N"
    text = HEPTANE.replace("smiles: CCCCCCC", f"smiles: {smiles!r}").replace("IMNFDUFMRHMDMM-UHFFFAOYSA-N", key)
    path.write_text(text)
    done = snakemake(workflow, "--cores", "2")
    printed = done.stdout + done.stderr
    assert done.returncode != 0
    assert "n-heptane.yaml" in printed
    assert message in printed
    assert "Traceback" not in printed
    assert not (workflow / "results").exists()
    assert not Path("/tmp/mobcg-was-here").exists()


def test_unknown_scale_names_those_there_are(workflow: Path) -> None:
    done = snakemake(workflow, "--cores", "2", "-n", "--config", "scale=huge")
    assert done.returncode != 0
    assert "demo" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_lint_and_format_are_clean(workflow: Path) -> None:
    done = snakemake(workflow, "--lint")
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_kept_of_a_run_is_one_of_three(workflow: Path) -> None:
    wrong = snakemake(workflow, "--cores", "2", "-n", "--config", "keep_trajectories=some")
    assert wrong.returncode != 0
    assert "keep_trajectories: found 'some'" in wrong.stdout + wrong.stderr
    assert "'none', 'beads' or 'all'" in wrong.stdout + wrong.stderr
