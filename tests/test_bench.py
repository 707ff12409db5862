import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mobcg.bench import (
    AIMS,
    SCALE,
    STAGES,
    program_seconds,
    report_overhead,
    report_planning,
    run,
    time_programs,
    times_more,
)
from mobcg.config import Scale, load_molecules, load_scale

REPOSITORY = Path(__file__).parents[1]


def test_a_command_is_measured_with_its_children(tmp_path: Path) -> None:
    small = run([sys.executable, "-c", "print('said')"], tmp_path)
    assert small.printed == "said\n"
    allocating = (
        "import subprocess, sys, time; time.sleep(0.3)\n"
        "if len(sys.argv) == 1: subprocess.run([sys.executable, __file__, 'x'])\n"
        "else: bytearray(500_000_000)\n"
    )
    (tmp_path / "large.py").write_text(allocating)
    large = run([sys.executable, "large.py"], tmp_path)
    assert small.peak_bytes < 500e6 < large.peak_bytes
    assert large.seconds > 0.6
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run([sys.executable, "-c", "print('why'); raise SystemExit(3)"], tmp_path)
    assert (caught.value.returncode, caught.value.output) == (3, "why\n")


def test_stand_ins_pass_on_everything_and_note_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, work = tmp_path / "real", tmp_path / "root/results/work/atomistic/abc"
    real.mkdir()
    work.mkdir(parents=True)
    (real / "gmx").write_text('#!/bin/bash\nsleep 0.2; echo "$# $2 $3"; cat; exit 5\n')
    (real / "gmx").chmod(0o755)
    monkeypatch.setenv("PATH", f"{real}:{os.environ['PATH']}")
    log = tmp_path / "notes"
    time_programs(tmp_path / "bin", log, ["gmx"])
    command = [str(tmp_path / "bin/gmx"), "-quiet", "mdrun", "two words"]
    done = subprocess.run(command, cwd=work, input="in\n", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (5, "3 mdrun two words\nin\n")
    (stage,) = program_seconds(log).items()
    assert stage == ("atomistic", {"gmx mdrun": pytest.approx(0.2, abs=0.19)})


def test_the_scales_of_the_bench_are_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert Scale.model_validate(SCALE).coarse.records_per_shard >= 5
    paper = yaml.safe_load(Path("config/scale/paper.yaml").read_text())
    more = Scale.model_validate(times_more(paper))
    before = load_scale(Path("config/scale/paper.yaml"), load_molecules(Path("config/molecules")))
    assert sum(more.synthetic.draws.values()) == 10 * sum(before.synthetic.draws.values())
    assert more.synthetic.lengths == before.synthetic.lengths
    assert paper["name"] == "paper"


def test_every_figure_stands_beside_its_reference_and_aim() -> None:
    planned = {"jobs": 3142, "seconds": 12.0, "peak_bytes": 2.5e8, "bare_snakemake_s": 8.0}
    planned |= {"bare_snakemake_peak_bytes": 1.9e8, "times_bare_snakemake": 1.5}
    lines = report_planning({"plan": planned})
    for words in ("plan ", "3142", " 12 ", "250", " 8 ", "190", "1.50", AIMS["plan"]):
        assert words in lines[1]
    stage = {"job_s": 110.0, "program": "lmp", "program_s": 100.0, "ratio": 1.1}
    inversion = {"job_s": 60.0, "program": "csg_inverse", "program_s": 50.0, "ratio": 1.2}
    inversion |= {"inner_program": "lmp", "inner_program_s": 20.0}
    lines = report_overhead({"coarse": stage, "inversion": inversion})
    assert "1.100" in lines[1]
    assert AIMS["coarse"] in lines[1]
    assert "lmp 20 s, VOTCA's own scripts 30 s" in lines[3]
    assert set(STAGES) == {"atomistic", "inversion", "coarse"}
