"""Machine-readable descriptions of a release, all made from `mobcg.schema`, the files and CITATION.cff.

datapackage.json: Frictionless Data Package 2; croissant.json: Croissant 1.0; ro-crate-metadata.json: RO-Crate 1.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from mobcg.database.manifest import Version, json_text, release_files, sha256_of
from mobcg.errors import InputError
from mobcg.schema import (
    FLAG,
    REAL,
    SCHEMA_VERSION,
    TABLES,
    TEXT,
    TEXTS,
    TRAJECTORIES_FILE,
    TRAJECTORY_INDEX,
    WHOLE,
    Column,
    Table,
)

LICENSE_NAME = "CC-BY-4.0"
LICENSE_TITLE = "Creative Commons Attribution 4.0"
LICENSE_URL = "https://creativecommons.org/licenses/by/4.0/"
NAME = "mobcg"
TITLE = "mobcg: mobility and structure of one-bead coarse-grained molecular liquids"
KEYWORDS = ("molecular dynamics", "coarse graining", "pair potential", "self-diffusion", "radial distribution function")
DESCRIPTORS = ("datapackage.json", "croissant.json", "ro-crate-metadata.json")

FRICTIONLESS_TYPES = {TEXT: "string", REAL: "number", WHOLE: "integer", FLAG: "boolean"}
CROISSANT_TYPES = {TEXT: "sc:Text", REAL: "sc:Float", WHOLE: "sc:Integer", FLAG: "sc:Boolean"}
MEDIA_TYPES = {
    ".parquet": "application/vnd.apache.parquet",
    ".json": "application/json",
    ".md": "text/markdown",
    ".cff": "application/yaml",
    ".yaml": "application/yaml",
    ".npz": "application/zip",
    ".safetensors": "application/octet-stream",
    ".csv": "text/csv",
}


def footer_of(path: Path) -> dict[str, str]:
    """Return the metadata in the footer of a Parquet file of ours."""
    metadata = pq.read_schema(path).metadata or {}
    return {key.decode(): value.decode() for key, value in metadata.items()}


def citation_of(path: Path) -> dict[str, Any]:
    """Return what CITATION.cff says: `authors` (names) and `repository`, None where it names none.

    Raises
    ------
    InputError
        It is no YAML, or names no author.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        people = [
            person.get("name") or f"{person.get('given-names', '')} {person.get('family-names', '')}".strip()
            for person in content["authors"]
        ]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(path, "authors", str(error), "a Citation File Format file", "Correct it.") from error
    return {"authors": people, "repository": content.get("repository-code")}


def summary(evaluations: int) -> str:
    """Return in one sentence what is in a release with so many rows of evaluations."""
    beside = "standard errors, train/test splits and scored models" if evaluations else "standard errors and splits"
    return (
        "Radial distribution functions, self-diffusion coefficients and pair potentials of atomistic molecular liquids "
        f"and of one-bead coarse-grained models of them, with {beside}."
    )


def published_month(version: str) -> str:
    """Return the month of a calendar version as ISO 8601, the only date that a rebuild repeats."""
    parsed = Version.parse(version)
    return f"{parsed.year:04d}-{parsed.month:02d}"


def write_descriptors(directory: Path) -> None:
    """Write the three descriptors of a release directory whose other files are in place."""
    for name, content in descriptors(directory).items():
        (directory / name).write_text(json_text(content), encoding="utf-8")


def descriptors(directory: Path) -> dict[str, dict[str, Any]]:
    """Return the three descriptors, file name → content, as the other files of a release directory make them.

    Raises
    ------
    InputError
        CITATION.cff is none.
    """
    files = {
        name: {"bytes": (directory / name).stat().st_size, "sha256": sha256_of(directory / name)}
        for name in release_files(directory)
        if name not in DESCRIPTORS
    }
    tables = {name: TABLES[name] for name in TABLES if f"data/{name}.parquet" in files}
    rows = {name: pq.read_metadata(directory / f"data/{name}.parquet").num_rows for name in tables}
    footer = footer_of(directory / "data" / "grid.parquet")
    citation = citation_of(directory / "CITATION.cff")
    made = (make(tables, files, rows, footer, citation) for make in (datapackage, croissant, ro_crate))
    return dict(zip(DESCRIPTORS, made, strict=True))


Files = Mapping[str, Mapping[str, Any]]


def datapackage(
    tables: Mapping[str, Table], files: Files, rows: Mapping[str, int], footer: Mapping[str, str], citation: Mapping
) -> dict[str, Any]:
    """Return a Frictionless Data Package 2 descriptor.

    Parameters
    ----------
    tables
        Tables whose Parquet files the release has.
    files
        File name → {"bytes": size, "sha256": hex}.
    rows
        Table → number of rows.
    footer, citation
        From `footer_of` and `citation_of`.
    """
    resources = [
        {**_resource(table, f"data/{name}.parquet", files), "rows": rows[name], "schema": table_schema(table)}
        for name, table in tables.items()
    ]
    if TRAJECTORIES_FILE in files:
        index = _resource(TRAJECTORY_INDEX, TRAJECTORIES_FILE, files)
        resources.append({**index, "type": "table", "schema": table_schema(TRAJECTORY_INDEX)})
    return {
        "$schema": "https://datapackage.org/profiles/2.0/datapackage.json",
        "name": NAME,
        "title": TITLE,
        "description": summary(rows["evaluation"]),
        "version": footer["data_version"],
        "schemaVersion": SCHEMA_VERSION,
        "commit": footer["commit"],
        **({"scale": footer["scale"]} if "scale" in footer else {}),
        **({"rough": True} if "rough" in footer else {}),
        **({"homepage": citation["repository"]} if citation["repository"] else {}),
        "keywords": list(KEYWORDS),
        "licenses": [{"name": LICENSE_NAME, "title": LICENSE_TITLE, "path": LICENSE_URL}],
        "contributors": [{"title": name, "roles": ["creator"]} for name in citation["authors"]],
        "resources": resources,
    }


def _resource(table: Table, path: str, files: Files) -> dict[str, Any]:
    suffix = Path(path).suffix
    return {
        "name": table.name,
        "path": path,
        "title": table.name,
        "description": table.description,
        "format": suffix.removeprefix("."),
        "mediatype": MEDIA_TYPES[suffix],
        "bytes": files[path]["bytes"],
        "hash": f"sha256:{files[path]['sha256']}",
    }


def table_schema(table: Table) -> dict[str, Any]:
    """Return the Frictionless Table Schema 2 of a table."""
    fields = [_frictionless_field(column) for column in table.columns]
    foreign = [
        {"fields": [column.name], "reference": dict(zip(("resource", "fields"), _reference(column), strict=True))}
        for column in table.columns
        if column.references
    ]
    return {
        "$schema": "https://datapackage.org/profiles/2.0/tableschema.json",
        "fields": fields,
        "primaryKey": list(table.key),
        **({"foreignKeys": foreign} if foreign else {}),
    }


def _reference(column: Column) -> tuple[str, list[str]]:
    table, name = column.references.split(".")
    return table, [name]


def _frictionless_field(column: Column) -> dict[str, Any]:
    is_list = pa.types.is_list(column.type)
    limits = {
        "required": column.required or None,
        "enum": list(column.allowed) or None,
        "minimum": column.minimum,
        "maximum": column.maximum,
        "exclusiveMinimum": column.exclusive_minimum,
    }
    constraints = {
        name: limit for name, limit in limits.items() if limit is not None and (not is_list or name == "required")
    }
    if column.on_grid:
        constraints |= {"minLength": 150, "maxLength": 150}
    return {
        "name": column.name,
        "type": "array" if is_list else FRICTIONLESS_TYPES[column.type],
        "description": column.description,
        **({"unit": column.unit} if column.unit else {}),
        **({"symbol": column.symbol} if column.symbol else {}),
        **({"constraints": constraints} if constraints else {}),
    }


CROISSANT_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(
    tables: Mapping[str, Table], files: Files, rows: Mapping[str, int], footer: Mapping[str, str], citation: Mapping
) -> dict[str, Any]:
    """Return a Croissant 1.0 description (JSON-LD); arguments as for `datapackage`.

    Foreign keys are left to `datapackage`: mlcroissant joins the record sets along them, and a null, or a record set
    that refers to one that refers to a third, ends that with an error.
    """
    distribution = [
        _file_object(f"{name}.parquet", f"data/{name}.parquet", table.description, "application/x-parquet", files)
        for name, table in tables.items()
    ]
    if TRAJECTORIES_FILE in files:
        about = TRAJECTORY_INDEX.description, MEDIA_TYPES[".json"]
        distribution.append(_file_object(TRAJECTORIES_FILE, TRAJECTORIES_FILE, *about, files))
    return {
        "@context": CROISSANT_CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": NAME,
        "description": summary(rows["evaluation"]),
        "license": LICENSE_URL,
        "url": citation["repository"] or "README.md",
        "citeAs": cite_as(footer["data_version"], citation["authors"]),
        "creator": [{"@type": "sc:Organization", "name": name} for name in citation["authors"]],
        "datePublished": published_month(footer["data_version"]),
        "version": footer["data_version"],
        "keywords": list(KEYWORDS),
        "distribution": distribution,
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": name,
                "name": name,
                "description": table.description,
                "key": [{"@id": f"{name}/{column}"} for column in table.key],
                "field": [_croissant_field(name, column) for column in table.columns],
            }
            for name, table in tables.items()
        ],
    }


def _file_object(name: str, path: str, description: str, encoding: str, files: Files) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "description": description,
        "contentUrl": path,
        "contentSize": f"{files[path]['bytes']} B",
        "encodingFormat": encoding,
        "sha256": files[path]["sha256"],
    }


def _croissant_field(table: str, column: Column) -> dict[str, Any]:
    unit = f" [{column.unit}]" if column.unit else ""
    element = {TEXTS: TEXT}.get(column.type, REAL) if pa.types.is_list(column.type) else column.type
    return {
        "@type": "cr:Field",
        "@id": f"{table}/{column.name}",
        "name": column.name,
        "description": column.description + unit,
        "dataType": CROISSANT_TYPES[element],
        **({"repeated": True} if pa.types.is_list(column.type) else {}),
        "source": {"fileObject": {"@id": f"{table}.parquet"}, "extract": {"column": column.name}},
    }


def cite_as(version: str, authors: list[str]) -> str:
    """Return one line to cite the release by."""
    return f"{', '.join(authors)} ({Version.parse(version).year}). {TITLE}. Data release {version}. {LICENSE_NAME}."


def ro_crate(
    tables: Mapping[str, Table], files: Files, rows: Mapping[str, int], footer: Mapping[str, str], citation: Mapping
) -> dict[str, Any]:
    """Return an RO-Crate 1.1 metadata document (JSON-LD); arguments as for `datapackage`."""
    people = [
        {"@id": f"#author-{number}", "@type": "Person", "name": name}
        for number, name in enumerate(citation["authors"], 1)
    ]
    about = {f"data/{name}.parquet": table.description for name, table in tables.items()}
    about[TRAJECTORIES_FILE] = TRAJECTORY_INDEX.description
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": TITLE,
        "description": summary(rows["evaluation"]),
        "version": footer["data_version"],
        "datePublished": published_month(footer["data_version"]),
        "license": {"@id": LICENSE_URL},
        "keywords": list(KEYWORDS),
        "author": [{"@id": person["@id"]} for person in people],
        "hasPart": [{"@id": name} for name in files],
        "mentions": [{"@id": "#build"}],
    }
    descriptor = {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
        "about": {"@id": "./"},
    }
    parts = [
        {
            "@id": name,
            "@type": "File",
            "name": name,
            **({"description": about[name]} if name in about else {}),
            "encodingFormat": MEDIA_TYPES.get(Path(name).suffix, "text/plain"),
            "contentSize": str(entry["bytes"]),
            "sha256": entry["sha256"],
        }
        for name, entry in files.items()
    ]
    made_by = [
        {"@id": LICENSE_URL, "@type": "CreativeWork", "name": LICENSE_TITLE, "identifier": LICENSE_NAME},
        {"@id": "#mobcg", "@type": "SoftwareApplication", "name": "mobcg", "version": footer["commit"]},
        {
            "@id": "#build",
            "@type": "CreateAction",
            "name": "the workflow that made this release",
            "instrument": {"@id": "#mobcg"},
            "result": [{"@id": "./"}],
        },
    ]
    return {
        "@context": "https://w3id.org/ro/crate/1.1/context",
        "@graph": [descriptor, root, *people, *parts, *made_by],
    }
