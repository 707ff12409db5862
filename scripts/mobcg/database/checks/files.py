"""Files and schema: is each file what SHA256SUMS says, and each table what `mobcg.schema` says?"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mobcg.database.checks.finding import Finding
from mobcg.database.descriptor import DESCRIPTORS
from mobcg.database.manifest import CHECKSUMS, read_checksums, release_files, sha256_of
from mobcg.errors import InputError
from mobcg.schema import SCHEMA_VERSION, Table

REQUIRED_FILES = ("README.md", "LICENSE-DATA", "CITATION.cff", "CHANGELOG.md", "diff.json", *DESCRIPTORS)
# Formats that carry values and text only; a pickle, a script or an archive of unknown content has no place here.
PLAIN_NAMES = ("LICENSE-DATA", "SHA256SUMS", "LICENSE")
PLAIN_SUFFIXES = (".parquet", ".json", ".md", ".cff", ".npz", ".npy", ".yaml", ".csv", ".txt", ".table", ".pot", ".xvg")
PLAIN_SUFFIXES += (".safetensors",)
# A row group that says it unpacks to more than this is not read.
MAX_ROW_GROUP_BYTES = 2**31


def check_files(directory: Path) -> tuple[list[Finding], set[str]]:
    """Return what is wrong with the files, and the names of those that are what SHA256SUMS says."""
    links = [path for path in directory.rglob("*") if path.is_symlink() or not (path.is_file() or path.is_dir())]
    if links:
        return [
            Finding(str(path.relative_to(directory)), "", "", "a link", "plain files only") for path in links
        ], set()
    try:
        sums = read_checksums(directory / CHECKSUMS)
    except InputError as error:
        return [Finding(CHECKSUMS, "", error.key, str(error.value), error.allowed)], set()
    present = set(release_files(directory))
    findings = [
        Finding(name, "", "", "no such file", "every file of SHA256SUMS is there") for name in sums.keys() - present
    ]
    findings += [Finding(name, "", "", "not in SHA256SUMS", "every file is listed") for name in present - sums.keys()]
    findings += [
        Finding(name, "", "", "no such file", "a release has this file") for name in REQUIRED_FILES if name not in sums
    ]
    sound = set()
    for name in sorted(sums.keys() & present):
        digest = sha256_of(directory / name)
        if digest != sums[name]:
            findings.append(Finding(name, "", "sha256", digest, f"SHA-256 {sums[name]} of {CHECKSUMS}"))
        elif not _is_plain(directory / name):
            findings.append(Finding(name, "", "", Path(name).suffix, "formats that hold values and text, never code"))
        else:
            sound.add(name)
    return sorted(findings, key=lambda finding: finding.table), sound


def _is_plain(path: Path) -> bool:
    if path.name in PLAIN_NAMES:
        return True
    if path.suffix not in PLAIN_SUFFIXES:
        return False
    if path.suffix == ".safetensors":
        return _is_safetensors(path)
    return _holds_no_objects(path) if path.suffix in (".npz", ".npy") else True


def _is_safetensors(path: Path) -> bool:
    """Return whether a file begins as safetensors do: the length of a JSON header in 8 bytes, and that header."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    if not 2 <= length <= len(content) - 8:
        return False
    try:
        return isinstance(json.loads(content[8 : 8 + length]), dict)
    except (ValueError, RecursionError):
        return False


def _holds_no_objects(path: Path) -> bool:
    """Return whether NumPy arrays in a file are of plain types; object arrays are pickles."""
    try:
        if path.suffix == ".npy":
            return not _npy_dtype(io.BytesIO(path.read_bytes()[:65536])).hasobject
        with zipfile.ZipFile(path) as archive:
            dtypes = [_npy_dtype(io.BytesIO(archive.open(name).read(65536))) for name in archive.namelist()]
            return all(name.endswith(".npy") for name in archive.namelist()) and not any(d.hasobject for d in dtypes)
    except (ValueError, zipfile.BadZipFile, NotImplementedError, EOFError):
        return False


def _npy_dtype(stream: io.BytesIO) -> np.dtype:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(stream)[2]


def check_schema(table: Table, path: Path) -> Iterator[Finding]:
    """Yield what differs from `mobcg.schema`; a release of an older minor version may lack columns added since."""
    try:
        parquet = pq.ParquetFile(path, page_checksum_verification=True)
        found, metadata = parquet.schema_arrow, parquet.metadata
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        yield Finding(table.name, "", "", str(error).splitlines()[0], "a whole Parquet file")
        return
    footer = {key.decode(): value.decode() for key, value in (found.metadata or {}).items()}
    version = footer.get("schema_version", "none")
    if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        yield Finding(table.name, "", "schema_version", version, f"schema {SCHEMA_VERSION.split('.')[0]}.x.y")
    older = version != SCHEMA_VERSION
    for name in ("data_version", "license", "commit"):
        if not footer.get(name):
            yield Finding(table.name, "", name, "nothing", "versions, licence and commit stand in the footer")
    for column in table.columns:
        index = found.get_field_index(column.name)
        if index < 0:
            if not older:
                yield Finding(table.name, "", column.name, "no such column", "every column of the schema")
            continue
        field = found.field(index)
        if field.type != column.type:
            yield Finding(table.name, "", column.name, str(field.type), f"type {column.type}")
        unit = (field.metadata or {}).get(b"unit", b"").decode()
        if unit != column.unit:
            yield Finding(table.name, "", column.name, f"unit {unit!r}", f"unit {column.unit!r}")
        elif not older and field.metadata != table.arrow_schema.field(column.name).metadata:
            yield Finding(table.name, "", column.name, "other metadata", "description and symbol of the schema")
    for name in found.names:
        if name not in {column.name for column in table.columns}:
            yield Finding(table.name, "", name, "an unknown column", "only columns of the schema")
    for number in range(metadata.num_row_groups):
        if metadata.row_group(number).total_byte_size > MAX_ROW_GROUP_BYTES:
            yield Finding(table.name, f"row group {number}", "", "too large", f"at most {MAX_ROW_GROUP_BYTES} bytes")
