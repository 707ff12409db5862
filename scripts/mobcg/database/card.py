"""The data card of a release: README.md, with the YAML header that Hugging Face reads, all made from the tables.

The prose is in card.md beside this file; no number in it is written by hand. `python -m mobcg.database.card DIR`
prints the card of a release.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from mobcg.database.descriptor import (
    KEYWORDS,
    LICENSE_NAME,
    LICENSE_TITLE,
    LICENSE_URL,
    TITLE,
    citation_of,
    cite_as,
    footer_of,
    summary,
)
from mobcg.database.diff import SCORES, mean_scores
from mobcg.database.manifest import Version
from mobcg.database.splits import VALIDATION_FRACTION
from mobcg.database.trajectories import FORCE_STEP_KJ_MOL_NM, POSITION_STEP_NM, read_index
from mobcg.errors import InputError
from mobcg.observables import FIT_WINDOW_TAU, STOKES_EINSTEIN_ALPHA, YEH_HUMMER_XI, finite_size_factor
from mobcg.pair import CUTOFF_NM, R_NM
from mobcg.schema import TABLES, TRAJECTORIES, TRAJECTORIES_FILE, TRAJECTORY, Column, Table
from mobcg.units import NM2_NS_PER_NM2_PS, reduced_time_ps

SIZE_CATEGORIES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
ROUGH = (
    "What this scale ran itself is rough: short runs of small boxes, made to show that the chain works. Do not quote "
    "it. Rows that were taken over from a base release are as good as they are there."
)
NEOPENTANE = "- Neopentane boils below this temperature; its liquid here is metastable, a model liquid.\n"
SCORES_NOTE = """\
Each model is run in the box of the atomistic liquid and compared with it: α = D / D_AA (1 is right), structure error
∫|g − g_AA| dr / ∫ g_AA dr (0 is right), and score = sqrt((error/0.1)² + (ln α / ln 2)²), smaller is better. Median over
the liquids; α and error are means over replicas, the score is that of these means. `data/evaluation.parquet` has every
run with its standard errors."""

FINITE_SIZE = """\
- `diffusion_yh_nm2_ns` is D × f(N), f = 1 / (1 − ξ / (6π α N^(1/3))), ξ = {xi:g} (Yeh and Hummer) and α = {alpha:g}
  (a viscosity estimated from D itself): for one N a constant times D, no further measurement{span}. The correction
  f − 1 is uncertain by about 20 %, which no column tells; it is not justified under DPD friction, which adds to the
  viscosity.
"""
CENTRES = """\
- The centres of mass of the atomistic runs are at {mean:+.1f}{error} K from the temperature asked for, below it in
  {below} of {runs} runs (`temperature_centres_k`; mean over the runs and its standard error). The thermostat holds the
  kinetic energy of all atoms together, that of the half steps of the leap-frog. In equilibrium a mode of frequency ω
  has kT tan θ/θ of it, sin θ = ωΔt/2, so that fast vibrations hold more than their share and what is slow, the motion
  of the molecules, is colder than asked for, at Δt = 2 fs by a hundredth. The density is free of this: it is from
  Langevin dynamics, which hold each degree of freedom; at that density the colder liquid has a lower pressure. D and
  g(r) are those of the colder liquid, and so is α = D/D_AA; they are not corrected.
"""

TOGETHER = """\
### What friction keeps, and what not

A friction that brings D to that of the atomistic liquid leaves g(r) as it is. Whether momentum still passes from bead
to bead, as flow, sound and viscosity need, is another question. `neighbour_correlation` measures it: the mean product
of the displacements of first neighbours over the mean squared displacement, while that reaches a quarter of ρ^(−2/3).
Mean over the liquids and its standard error:"""

TRAJECTORY_NOTE = """\
## The beads, frame by frame

An optional download of {megabytes:.1f} MB: centres of mass of the molecules and net forces on them, of {runs} atomistic
runs of the liquids. The files lie beside the directory of the release, in `{directory}/`, and are shared by all
releases that hold the run; `{index}` names them with their SHA-256. Positions are rounded to {position:.6f} nm, forces
to {force:g} kJ/mol/nm; spec, box, mass and temperature are in the metadata of each file.

```
mobcg release download {version} --trajectories --from ADDRESS
python -c 'import mobcg; print(mobcg.load_trajectory("{molecule}", release="{version}").positions_nm.shape)'
```

{table}
"""

THERMOSTATS = ("nose_hoover", "langevin", "dpd")
PRIOR = """\
### The prior

Liquids whose pair potential and density are drawn at random; no molecule, atomistic run or inversion stands behind
them, and their `molecule_id` is null. U/kT is the sum of a wall (an inverse power, an exponential, or a core inside a
soft shoulder), a well that is steep inside and wide outside, some Gaussians of either sign, and a Gaussian process
beyond the wall; it is cut off as all potentials here are. An integral equation (hypernetted chain with Verlet's
bridge function) foresees the structure of each draw, and those outside the screen below are drawn again before
anything is run. A run that freezes or comes apart all the same is a failed row. Draws are uniform, of the exponent
and of widths and lengths of correlation in their logarithm; energies in kT, lengths without a unit over the contact
distance, which is `contact` times the mean distance ρ^(−1/3)."""


def card(directory: Path) -> str:
    """Return the data card of a release directory: YAML header, then Markdown.

    Raises
    ------
    InputError
        A table or CITATION.cff is missing or unreadable.
    """
    try:
        footer = footer_of(_path(directory, "grid"))
        text = _card(directory, footer)
    except (pa.ArrowInvalid, OSError, KeyError) as error:
        raise InputError(directory, "", str(error), "a release directory", "Validate it first.") from error
    rows = {name: pq.read_metadata(_path(directory, name)).num_rows for name in TABLES}
    return hugging_face_header(rows) + "\n" + text


def _card(directory: Path, footer: dict[str, str]) -> str:
    citation = citation_of(directory / "CITATION.cff")
    molecules = _read(directory, "molecules", "molecule_id", "temperature_k", "pressure_bar").to_pylist()
    states = sorted({(row["temperature_k"], row["pressure_bar"]) for row in molecules})
    template = Template(resources.files(__package__).joinpath("card.md").read_text(encoding="utf-8"))
    return template.substitute(
        title=TITLE,
        rough=f"**{ROUGH}**\n\n" if "rough" in footer else "",
        summary=summary(pq.read_metadata(_path(directory, "evaluation")).num_rows),
        version=footer["data_version"],
        schema_version=footer["schema_version"],
        commit=footer["commit"],
        scale=f" from the scale `{footer['scale']}`" if "scale" in footer else "",
        contents=_contents(directory),
        files=_files(directory),
        liquids=_liquids(directory),
        origins=_origins(directory),
        prior=_prior(directory),
        trajectories=_trajectories(directory, footer["data_version"]),
        scores=_scores(directory),
        together=_together(directory),
        again=_again(footer),
        programs=_programs(directory),
        window="{:g} to {:g}".format(*FIT_WINDOW_TAU),
        bins=R_NM.size,
        r_first=f"{R_NM[0]:.3f}",
        r_last=f"{R_NM[-1]:.3f}",
        cutoff=f"{CUTOFF_NM:g}",
        splits=_splits(directory),
        validation=f"{VALIDATION_FRACTION:.0%}",
        states=", ".join(f"{temperature:g} K and {pressure:g} bar" for temperature, pressure in states),
        finite_size=_finite_size(directory),
        centres=_temperature_of_centres(directory),
        neopentane=NEOPENTANE if "neopentane" in {row["molecule_id"] for row in molecules} else "",
        licence=_licence(citation, footer["data_version"]),
        dictionary=data_dictionary(),
    )


def _path(directory: Path, table: str) -> Path:
    return directory / "data" / f"{table}.parquet"


def _read(directory: Path, table: str, *columns: str) -> pa.Table:
    return pq.read_table(_path(directory, table), columns=list(columns))


def hugging_face_header(rows: Mapping[str, int]) -> str:
    """Return the YAML header of a dataset card: licence, tags, size and one configuration for each table.

    `rows` holds the number of rows of each. A table without rows has no configuration: `datasets` cannot load it.
    """
    header = {
        "license": LICENSE_NAME.lower(),
        "pretty_name": TITLE,
        "language": ["en"],
        "tags": ["chemistry", "physics", *KEYWORDS],
        "size_categories": [next((name for limit, name in SIZE_CATEGORIES if rows["coarse"] < limit), "n>1M")],
        "configs": [
            {
                "config_name": name,
                **({"default": True} if name == "coarse" else {}),
                "data_files": [{"split": "train", "path": f"data/{name}.parquet"}],
            }
            for name in TABLES
            if rows[name]
        ],
    }
    return f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---\n"


def data_dictionary() -> str:
    """Return every table and column of `mobcg.schema` as Markdown."""
    return "\n".join(map(_table_dictionary, TABLES.values())).rstrip()


def _table_dictionary(table: Table) -> str:
    key = ", ".join(f"`{name}`" for name in table.key)
    return f"### {table.name}\n\n{table.description} Key: {key}.\n\n{_columns(table)}\n"


def _columns(table: Table) -> str:
    rows = [
        (f"`{column.name}`", _type_name(column.type), column.unit, _cell(column.symbol), _meaning(column))
        for column in table.columns
    ]
    return _markdown_table(("column", "type", "unit", "symbol", "meaning"), rows)


def _type_name(kind: pa.DataType) -> str:
    return f"list of {_type_name(kind.value_type)}" if pa.types.is_list(kind) else str(kind)


def _meaning(column: Column) -> str:
    notes = [f"one of {', '.join(column.allowed)}"] if column.allowed else []
    notes += [f"refers to `{column.references}`"] if column.references else []
    notes += ["never null"] if column.required else []
    return "; ".join([_cell(column.description), *notes])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines)


def _contents(directory: Path) -> str:
    rows = []
    for name, table in TABLES.items():
        count = pq.read_metadata(_path(directory, name)).num_rows
        failed, remarks = "", ""
        if "status" in table.arrow_schema.names:
            states = _read(directory, name, "status", "reason").to_pylist()
            failed = str(sum(row["status"] != "ok" for row in states))
            remarks = str(sum(row["status"] == "ok" and bool(row["reason"]) for row in states))
        rows.append((f"`data/{name}.parquet`", table.description, str(count), failed, remarks))
    return _markdown_table(("table", "one row is", "rows", "of them failed", "with a remark"), rows)


def _files(directory: Path) -> str:
    """Return what lies beside the tables."""
    there = [
        text
        for name, text in (
            (
                "potentials",
                "`potentials/<molecule>/<model>.*` holds the potentials of the models for LAMMPS, VOTCA, OpenMM and "
                "GROMACS; the units of each are in `potentials/README.md`.",
            ),
            ("models", "`models/<model>/` holds the trained models themselves."),
        )
        if (directory / name).is_dir()
    ]
    return "\n".join([*there, "`SHA256SUMS` holds the checksum of every file."])


def _liquids(directory: Path) -> str:
    """Return density and D of each liquid, one row for each state and number of molecules: D depends on the box."""
    names = ("molecule_id", "name", "formula", "temperature_k", "pressure_bar", "role", "reference_density_kg_m3")
    alike: dict[str, dict[tuple[str, str], list[dict[str, Any]]]] = {}
    for run in sorted(_pristine_runs(directory), key=lambda run: run["n_molecules"]):
        state = _state(run, json.loads(run["spec"]).get("density_kg_m3"))
        alike.setdefault(run["molecule_id"], {}).setdefault((state, str(run["n_molecules"])), []).append(run)
    rows = []
    for molecule in _read(directory, "molecules", *names).to_pylist():
        reference = molecule["reference_density_kg_m3"]
        for (state, count), own in alike.get(molecule["molecule_id"], {(_state(molecule), "–"): []}).items():
            rows.append(
                (
                    molecule["name"],
                    molecule["formula"],
                    state,
                    molecule["role"],
                    count,
                    str(len(own)),
                    _mean(own, "density_kg_m3", ".1f"),
                    "–" if reference is None or state != _state(molecule) else f"{reference:.1f}",
                    _mean(own, "diffusion_nm2_ns", ".3f"),
                )
            )
    head = ("liquid", "formula", "state", "role", "N", "runs", "density kg/m³", "reference kg/m³", "D nm²/ns")
    return _markdown_table(head, rows)


def _state(row: Mapping[str, Any], density_kg_m3: float | None = None) -> str:
    held = f"{row['pressure_bar']:g} bar" if density_kg_m3 is None else f"{density_kg_m3:g} kg/m³"
    return f"{row['temperature_k']:g} K, {held}"


def _pristine_runs(directory: Path) -> list[dict[str, Any]]:
    columns = ("molecule_id", "density_kg_m3", "density_kg_m3_se", "diffusion_nm2_ns", "diffusion_nm2_ns_se", "spec")
    columns += ("temperature_k", "pressure_bar", "n_molecules")
    rows = _read(directory, "atomistic", *columns, "status").filter(pc.field("status") == "ok")
    return [row for row in rows.to_pylist() if json.loads(row["spec"])["force_field"]["kind"] != "synthetic"]


def _mean(rows: Sequence[dict[str, Any]], column: str, form: str) -> str:
    """Return mean and standard error over independent runs: of their own errors and of their scatter the larger."""
    if not rows:
        return "–"
    values, errors = (np.array([row[name] for row in rows]) for name in (column, f"{column}_se"))
    scatter = values.std(ddof=1) / len(rows) ** 0.5 if len(rows) > 1 else 0.0
    return f"{values.mean():{form}} ± {max(np.linalg.norm(errors) / len(rows), scatter):{form}}"


def _origins(directory: Path) -> str:
    columns = ("potential_id", "thermostat", "diffusion_nm2_ns", "mass_g_mol", "temperature_k", "number_density_nm3")
    coarse = _read(directory, "coarse", *columns, "status").filter(pc.field("status") == "ok").to_pylist()
    of_potential = _read(directory, "potentials", "potential_id", "origin").to_pylist()
    origin = {row["potential_id"]: row["origin"] for row in of_potential}
    rows = []
    for name in dict.fromkeys(row["origin"] for row in sorted(of_potential, key=lambda row: row["origin"])):
        own = [row for row in coarse if origin[row["potential_id"]] == name]
        kinds = Counter(row["thermostat"] for row in own)
        reduced = [_reduced_diffusion(row) for row in own if row["thermostat"] == "nose_hoover"]
        span = f"{min(reduced):.3f} to {max(reduced):.3f}" if reduced else "–"
        potentials = len({row["potential_id"] for row in own})
        rows.append((name, *map(str, (potentials, *(kinds[kind] for kind in THERMOSTATS))), span))
    return _markdown_table(("origin", "potentials", "runs without friction", "with Langevin", "with DPD", "D*"), rows)


def _reduced_diffusion(row: dict[str, Any]) -> float:
    density = row["number_density_nm3"]
    tau_ps = reduced_time_ps(row["mass_g_mol"], row["temperature_k"], density)
    return row["diffusion_nm2_ns"] / NM2_NS_PER_NM2_PS * tau_ps * density ** (2 / 3)


def _prior(directory: Path) -> str:
    """Return the section on the prior, its limits as the specs of its potentials have them; empty without a prior."""
    specs = _read(directory, "potentials", "origin", "spec").filter(pc.field("origin") == "prior")["spec"].to_pylist()
    if not specs:
        return ""
    limits: dict[tuple[str, str], list[str]] = {}
    for spec in map(json.loads, specs):
        for part in ("ranges", "screen"):
            for name, value in spec[part].items():
                found = limits.setdefault((part, name), [])
                text = " to ".join(f"{end:g}" for end in np.atleast_1d(value))
                if text not in found:
                    found.append(text)
    table = _markdown_table(("", "limit", "value"), [(*key, "; ".join(values)) for key, values in limits.items()])
    return f"{PRIOR}\n\n{table}\n\n"


def _trajectories(directory: Path, version: str) -> str:
    """Return the section on the bead trajectories; empty where the release names none."""
    rows = read_index(directory)
    if not rows:
        return ""
    return TRAJECTORY_NOTE.format(
        runs=len(rows),
        megabytes=sum(row["bytes"] for row in rows) / 1e6,
        directory=TRAJECTORIES,
        index=TRAJECTORIES_FILE,
        position=POSITION_STEP_NM,
        force=FORCE_STEP_KJ_MOL_NM,
        version=version,
        molecule=rows[0]["molecule_id"],
        table=_columns(TRAJECTORY) + "\n",
    )


def _scores(directory: Path) -> str:
    scores = mean_scores(_path(directory, "evaluation"))
    if not scores:
        return "No model is evaluated in this release."
    rows = [
        (model, str(len(found["alpha"])), *(f"{np.median(found[score]):.3f}" for score in SCORES))
        for model, found in scores.items()
    ]
    return f"{SCORES_NOTE}\n\n{_markdown_table(('model', 'liquids', 'α', 'structure error', 'score'), rows)}"


def _together(directory: Path) -> str:
    """Return how far neighbours move together, atomistic and by model; empty where the release does not say."""
    column, rows = "neighbour_correlation", []
    for table, names in (("atomistic", ("molecule_id", "spec")), ("evaluation", ("molecule_id", "model"))):
        if column not in pq.read_schema(_path(directory, table)).names:
            return ""
        found = _read(directory, table, *names, column, "status").filter(pc.field(column).is_valid())
        rows.append(found.filter(pc.field("status") == "ok").to_pylist())
    atomistic = [row for row in rows[0] if json.loads(row["spec"])["force_field"]["kind"] != "synthetic"]
    of_liquid: dict[str, dict[str, list[float]]] = {"atomistic": {}}
    for row in [*atomistic, *rows[1]]:
        liquid = of_liquid.setdefault(row.get("model", "atomistic"), {})
        liquid.setdefault(row["molecule_id"], []).append(row[column])
    if len(of_liquid) == 1:
        return ""
    lines = []
    for name, liquids in of_liquid.items():
        means = np.array([np.mean(values) for values in liquids.values()])
        error = f" ± {means.std(ddof=1) / means.size**0.5:.3f}" if means.size > 1 else ""
        lines.append((name, str(means.size), f"{means.mean():.3f}{error}"))
    return f"{TOGETHER}\n\n{_markdown_table(('model', 'liquids', 'correlation'), lines)}\n\n"


def _again(footer: Mapping[str, str]) -> str:
    """Return how the release is made again, as far as its footers say from what."""
    if "scale" not in footer:
        return "Snakemake makes the release again, with the code and the configuration of the commit above."
    version = Version.parse(footer["data_version"])
    asked = f"--config scale={footer['scale']} version={version.year}.{version.month}.{version.micro}"
    if "base_release" in footer:
        asked += f" base_release=releases/{footer['base_release']}"
    if version.suffix == "interim":
        return (
            f"It holds what was finished of a plan that goes on: with the code of the commit above, and `{asked}`,\n"
            f"`mobcg release interim --scale {footer['scale']}` wrote it."
        )
    return (
        "With the code of the commit above this makes the release again; on a cluster it is `--profile slurm` without\n"
        f"`--cores`:\n\n```\nsnakemake --profile profiles/workstation --cores all {asked}\n```"
    )


def _finite_size(directory: Path) -> str:
    """Return what the finite-size correction is, and its size in the boxes of the release."""
    counts = {
        count
        for table, name in (("atomistic", "n_molecules"), ("coarse", "n_beads"))
        for count in pc.unique(_read(directory, table, name)[name]).to_pylist()
    }
    ends = sorted({min(counts), max(counts)}) if counts else []
    span = ", ".join(f"{finite_size_factor(count):.3f} for N = {count}" for count in ends)
    return FINITE_SIZE.format(xi=YEH_HUMMER_XI, alpha=STOKES_EINSTEIN_ALPHA, span=f"; f = {span}" if ends else "")


def _temperature_of_centres(directory: Path) -> str:
    """Return by how much the centres of mass are off the temperature asked for; empty where no run says it."""
    column = "temperature_centres_k"
    if column not in pq.read_schema(_path(directory, "atomistic")).names:
        return ""
    rows = _read(directory, "atomistic", column, "temperature_k", "status").to_pylist()
    offsets = np.array([row[column] - row["temperature_k"] for row in rows if row["status"] == "ok" and row[column]])
    if not offsets.size:
        return ""
    error = f" ± {offsets.std(ddof=1) / offsets.size**0.5:.1f}" if offsets.size > 1 else ""
    return CENTRES.format(mean=offsets.mean(), error=error, below=int((offsets < 0).sum()), runs=offsets.size)


def _programs(directory: Path) -> str:
    found: dict[str, set[str]] = {}
    for table in ("atomistic", "potentials", "coarse", "evaluation"):
        for text in pc.unique(_read(directory, table, "versions")["versions"]).to_pylist():
            for program, version in json.loads(text).items():
                found.setdefault(program, set()).add(str(version))
    return "\n".join(f"- {name}: {', '.join(sorted(versions))}" for name, versions in sorted(found.items()))


def _splits(directory: Path) -> str:
    rows = _read(directory, "splits", "fold", "split")
    counts = Counter(zip(rows["fold"].to_pylist(), rows["split"].to_pylist(), strict=True))
    kinds = ("train", "validation", "test")
    folds = sorted({fold for fold, _ in counts})
    return _markdown_table(("fold", *kinds), [(fold, *(str(counts[fold, kind]) for kind in kinds)) for fold in folds])


def _licence(citation: dict[str, Any], version: str) -> str:
    where = f"through the issues of {citation['repository']}" if citation["repository"] else "through the repository"
    return (
        f"{LICENSE_TITLE} ([{LICENSE_NAME}]({LICENSE_URL}), see LICENSE-DATA).\n"
        f"Cite: {cite_as(version, citation['authors'])}\nQuestions and errors: {where}."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; prints the card."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.database.card", description=__doc__.splitlines()[0])
    parser.add_argument("release", type=Path, help="release directory")
    options = parser.parse_args(arguments)
    try:
        print(card(options.release), end="")
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
