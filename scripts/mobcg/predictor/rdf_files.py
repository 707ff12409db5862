"""Radial distribution functions as other programs write them, brought to the common grid of `mobcg.pair`.

Read are the files of VOTCA (.dist.tgt, .dist.new), `gmx rdf` (.xvg), LAMMPS (`compute rdf` through `fix ave/time`),
NumPy archives (.npz, .npy: MDAnalysis and freud users) and tables with or without a header (CSV, blanks or tabs).
What a file does not say (unit, normalisation) is concluded, and each conclusion is a note for the user.
"""

from __future__ import annotations

import io
import re
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from mobcg.errors import InputError
from mobcg.pair import BIN_WIDTH_NM, R_EDGES_NM, R_NM
from mobcg.units import ANGSTROM_PER_NM

UNITS = {"nm": 1.0, "angstrom": 1 / ANGSTROM_PER_NM}
NORMALISATIONS = ("N", "N-1")
MAX_BYTES = 50 * 10**6
MIN_ROWS = 20
LARGEST_NUMBER = 1e6
# Bins wider than this smear the first peak beyond repair; those above the common width do so visibly.
MAX_SPACING_NM = 0.0205
# A file that ends this much before 1.5 nm still tells g in the last bin.
END_TOLERANCE_NM = 0.006
# g below zero by rounding or smoothing, and g where no two molecules can be.
NEGATIVE_RDF, CORE_RDF = -1e-3, 0.05
# The first peak of a liquid lies near one mean distance ρ^(-1/3): 0.9 (water) to 1.15 (close packing).
PEAK_RANGE = (0.6, 2.0)
TAIL_RANGE_NM, TAIL_TOLERANCE = (0.3, 0.7), 0.05
COORDINATION_TOLERANCE = 0.05
# Column names, lower case, without their unit.
R_NAMES = ("r", "bins", "bin", "bin_centers", "bin_centres", "bin_center", "distance", "dist", "radius", "x")
G_NAMES = ("g", "g_r", "gr", "g(r)", "rdf", "gofr", "g_of_r", "y")
_UNIT_NAMES = {"nm": "nm", "a": "angstrom", "å": "angstrom", "ang": "angstrom", "angstrom": "angstrom"}
_NAME_WITH_UNIT = re.compile(r"(?P<name>.+?)\s*(?:[\[(/]\s*|_)(?P<unit>nm|å|a|ang|angstroms?)\s*[\])]?")
# How programs normalise the curve of N molecules among themselves (each measured); a table is taken for our own.
BY_N, BY_N_LESS_ONE = ("gmx", "VOTCA", "freud"), ("MDAnalysis", "LAMMPS", "table")
PROGRAM_NORMALISATION = dict.fromkeys(BY_N, "N") | dict.fromkeys(BY_N_LESS_ONE, "N-1")
# A column of coordination numbers begins with this at most, and ends above the other.
FIRST_COORDINATION, LAST_COORDINATION = 0.05, 1.0
GZIP = b"\x1f\x8b"
# What NumPy raises for an archive or a header that is damaged, or asks for more memory than there is.
DAMAGED = (
    *(ValueError, OSError, EOFError, KeyError, TypeError, SyntaxError, RuntimeError, MemoryError, OverflowError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)


@dataclass(frozen=True)
class Rdf:
    """A g(r) ready for a model.

    Attributes
    ----------
    rdf
        (150,) on `mobcg.pair.R_NM`, normalised by N − 1 where N is known.
    n_molecules
        As given; inf where it is not known, which a curve normalised by N does not suffer from.
    unit, program, normalisation
        What the distances were taken to be in, whose file it was taken for, and what it was normalised by.
    notes
        What was concluded, not stated; one sentence each.
    doubts
        What makes the potential doubtful; one sentence each, with what to do.
    """

    rdf: NDArray[np.float64]
    n_molecules: float
    unit: str
    program: str
    normalisation: str
    notes: tuple[str, ...]
    doubts: tuple[str, ...]


@dataclass(frozen=True)
class _Curve:
    """The columns of a file as they are, and what the file says of them."""

    r: NDArray[np.float64]
    g: NDArray[np.float64]
    program: str
    unit: str | None = None
    coordination: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()
    normalisation: str | None = None


def read_rdf(
    path: Path,
    number_density_nm3: float,
    unit: str | None = None,
    normalisation: str | None = None,
    n_molecules: float | None = None,
) -> Rdf:
    """Return the g(r) of a file on the common grid.

    Parameters
    ----------
    path
        The file; its format is detected.
    number_density_nm3
        Molecules per nm³; the first peak must lie near the mean distance, which tells nm from Å.
    unit
        `nm` or `angstrom`; None: as the file says, else as its program writes, else as the density says.
    normalisation
        `N` or `N-1`; None: as its program does, `N-1` where that is not known.
    n_molecules
        Molecules in the box; None: not known, which is a doubt about a curve normalised by N − 1.

    Raises
    ------
    InputError
        The file holds no g(r), or one that is too short, too coarse, negative, not a number, without a core, or not
        near 1 at the end; or unit, density and curve contradict each other.
    """
    curve = _read(path)
    _check_numbers(path, curve)
    notes = list(curve.notes)
    unit, said = _unit(path, curve, number_density_nm3, unit)
    notes += said
    factor = UNITS[unit]
    _check_coordination(path, curve, number_density_nm3, factor)
    rdf, said = to_grid(path, curve.r * factor, np.maximum(curve.g, 0.0))
    notes += said
    used, said = _normalisation(curve, normalisation)
    notes += said
    rdf, doubts = _normalised(rdf, used, n_molecules)
    doubts += _box_doubts(number_density_nm3, n_molecules)
    _check_tail(path, rdf, number_density_nm3)
    n_known = np.inf if n_molecules is None else float(n_molecules)
    return Rdf(rdf, n_known, unit, curve.program, used, tuple(notes), tuple(doubts))


def to_grid(where: object, r_nm: NDArray, rdf: NDArray) -> tuple[NDArray[np.float64], list[str]]:
    """Return a g(r) given at any rising r (nm) on the common grid, (150,), and what to tell the user.

    The number of pairs within r, ∫ g r² dr, is kept: it is exact at the edges of the bins given and interpolated by a
    cubic spline between them. A curve on the common grid comes back as it is.

    Raises
    ------
    InputError
        It ends before 1.5 nm, starts after contact or beyond 1.5 nm, or its bins are too wide.
    """
    widths = np.diff(r_nm)
    edges = np.concatenate([[r_nm[0] - widths[0] / 2], r_nm[:-1] + widths / 2, [r_nm[-1] + widths[-1] / 2]])
    edges[0] = max(edges[0], 0.0)
    if edges[-1] < R_EDGES_NM[-1] - END_TOLERANCE_NM:
        raise InputError(
            where, "r", f"g(r) up to {edges[-1]:.3f} nm", f"g(r) up to {R_EDGES_NM[-1]:g} nm", "Compute it further out."
        )
    used = widths[r_nm[1:] <= R_EDGES_NM[-1] + MAX_SPACING_NM]
    if not used.size:
        found = f"{r_nm[0]:.4g} and {r_nm[1]:.4g} nm, the first distances"
        raise InputError(
            where, "r", found, f"g(r) from inside the core to {R_EDGES_NM[-1]:g} nm", "Check unit and bins."
        )
    if used.max() > MAX_SPACING_NM:
        allowed = f"bins of at most {MAX_SPACING_NM:.2g} nm"
        raise InputError(where, "r", f"bins of {used.max():.4g} nm", allowed, f"Use bins of {BIN_WIDTH_NM:g} nm.")
    if r_nm[0] > R_EDGES_NM[1] and rdf[0] > CORE_RDF:
        found = f"g = {rdf[0]:.3g} at the first distance, {r_nm[0]:.3g} nm"
        raise InputError(where, "r", found, "g(r) from inside the core on, where it is 0")
    notes = []
    if np.median(used) > 1.05 * BIN_WIDTH_NM:
        notes.append(f"bins of {np.median(used):.3g} nm smear the first peak; {BIN_WIDTH_NM:g} nm is better")
    if edges.size >= R_EDGES_NM.size and np.allclose(edges[: R_EDGES_NM.size], R_EDGES_NM, atol=1e-6):
        return rdf[: R_NM.size].copy(), notes
    if edges[-1] < R_EDGES_NM[-1]:
        edges, rdf = np.append(edges, R_EDGES_NM[-1]), np.append(rdf, rdf[-1])
    if edges[0] > 0:
        edges, rdf = np.insert(edges, 0, 0.0), np.insert(rdf, 0, 0.0)
    within = np.concatenate([[0.0], np.cumsum(rdf * np.diff(edges**3))])
    empty = np.diff(np.interp(R_EDGES_NM, edges, within)) == 0  # the spline rings a little next to the wall
    counts = np.where(empty, 0.0, np.diff(CubicSpline(edges, within)(R_EDGES_NM)))
    return np.maximum(counts / np.diff(R_EDGES_NM**3), 0.0), notes


def _read(path: Path) -> _Curve:
    content = _content(path)
    suffix = path.suffix.lower()
    if content.startswith(GZIP):
        raise InputError(path, "", "a file packed by gzip", "a text file, .npz or .npy", "Unpack it: gunzip.")
    if suffix in (".npz", ".npy"):
        return _read_numpy(path, content)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(path, "", "bytes that are no text", "a text file, .npz or .npy") from None
    lines = [line.strip() for line in text.splitlines()]
    if lines and (lines[0].startswith("# Time-averaged data for fix") or _begins_a_block(lines)):
        return _read_lammps(path, lines)
    if suffix == ".xvg" or any(line.startswith("@") for line in lines):
        return _read_xvg(path, lines)
    return _read_table(path, [line.split("#")[0].strip() for line in lines])


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise InputError(path, "", "no such file", "a file with g(r)")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(path, "", f"{size} bytes", f"at most {MAX_BYTES} bytes", "Give g(r), not the trajectory.")
        return path.read_bytes()
    except OSError as error:
        raise InputError(path, "", error.strerror, "a file that can be read") from None


def _begins_a_block(lines: Sequence[str]) -> bool:
    """Return whether the numbers begin as a block of LAMMPS does: a line of step and rows, then one of row 1."""
    rows = [line.split() for line in lines if line and not line.startswith("#")][:2]
    return len(rows) == 2 and len(rows[0]) == 2 and all(map(str.isdecimal, rows[0])) and _is_row_one(rows[1])


def _is_row_one(words: Sequence[str]) -> bool:
    return len(words) > 2 and words[0] == "1"


def _read_xvg(path: Path, lines: Sequence[str]) -> _Curve:
    """Read `gmx rdf`: comments (#), settings of the plot (@), and one column for each selection after r."""
    labels = [line for line in lines if re.match(r"@\s+yaxis\s+label", line)]
    if labels and not re.search(r"g\(r\)|rdf", labels[0], re.IGNORECASE):
        advice = "Use the file of `gmx rdf -o`, with -norm rdf."
        raise InputError(path, "yaxis label", labels[0].split("label", 1)[1].strip(), '"g(r)"', advice)
    first_set = []
    for line in lines:
        if line.startswith("&"):
            break
        if line and line[0] not in "#@":
            first_set.append(line)
    table = _numbers(path, [line.split() for line in first_set])
    notes = ()
    if table.shape[1] > 2:
        notes = (f"{table.shape[1] - 1} curves in the file: the first is used",)
    return _Curve(table[:, 0], table[:, 1], "gmx", "nm", notes=notes)


def _read_lammps(path: Path, lines: Sequence[str]) -> _Curve:
    """Read `fix ave/time … mode vector` of `compute rdf`: a line of step and rows, then row, r, g, coordination.

    The mean over the blocks is used; a first one without a pair, of the step before the first average, and a last one
    that is cut short, of a run that was stopped, are left out.
    """
    blocks: list[tuple[int, list[list[str]]]] = []
    for line in lines:
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) == 2 and words[1].isdecimal():
            blocks.append((int(words[1]), []))
        elif blocks:
            blocks[-1][1].append(words)
    notes = []
    if blocks and not _is_whole(*blocks[-1]):
        found = f"{len(blocks.pop()[1])} rows in the last block, cut short"
        if not blocks:
            raise InputError(path, "", found, "a whole block", "Has its run ended?")
        notes.append(f"{found}: it is left out")
    tables = [_numbers(path, rows) for _, rows in blocks if rows]
    if not tables or tables[0].shape[1] < 3:
        raise InputError(path, "", "no rows of bin, r, g(r), coordination", "fix ave/time … c_myRDF[*] mode vector")
    if any(table.shape != tables[0].shape for table in tables):
        shapes = sorted({table.shape for table in tables})
        raise InputError(path, "", f"blocks of {shapes} rows and columns", "blocks of one shape, of one run")
    if len(tables) > 1 and not tables[0][:, 2].any():
        tables = tables[1:]
        notes.append("the first block of the file is empty and left out")
    if len(tables) > 1:
        notes.append(f"the mean over the {len(tables)} blocks of the file is used")
    if tables[0].shape[1] > 4:
        notes.append("more than one pair of types in the file: the first is used")
    mean = np.mean(tables, axis=0)
    coordination = mean[:, 3] if mean.shape[1] > 3 else None
    return _Curve(mean[:, 1], mean[:, 2], "LAMMPS", "angstrom", coordination, tuple(notes))


def _is_whole(n_rows: int, rows: Sequence[Sequence[str]]) -> bool:
    return len(rows) == n_rows > 0 and len(rows[-1]) == len(rows[0])


def _read_table(path: Path, lines: Sequence[str]) -> _Curve:
    """Read columns of numbers, with or without a line of names; the flags i, o, u at the end of rows are VOTCA's."""
    lines = [line for line in lines if line]
    separator = next((mark for mark in (",", ";", "\t") if lines and mark in lines[0]), None)
    rows = [[word.strip().strip("\"'") for word in line.split(separator)] for line in lines]
    if rows and rows[0][-1] in ("i", "o", "u"):
        rows = [row[:-1] for row in rows if row[-1] == "i"]
        table = _numbers(path, rows)
        return _Curve(table[:, 0], table[:, 1], "VOTCA", "nm")
    if rows and not all(_is_number(word) for word in rows[0] if word):
        names, rows = rows[0], rows[1:]
        table = _numbers(path, [[word or "nan" for word in row] for row in rows])
        if table.shape[1] != len(names):
            raise InputError(path, "", f"{len(names)} names over {table.shape[1]} columns", "a name over each column")
        return _named(path, dict(zip(names, table.T, strict=True)))
    table = _numbers(path, rows)
    if table.shape[1] > 2 and np.array_equal(table[:, 0], np.arange(1, len(table) + 1)):
        if table.shape[1] > 3 and not _counts_neighbours(table[:, 3]):
            notes = ("the first column counts the rows: the second and the third are used",)
            return _Curve(table[:, 1], table[:, 2], "table", notes=notes)
        # The rows of a block of LAMMPS without its comments.
        coordination = table[:, 3] if table.shape[1] > 3 else None
        return _Curve(
            table[:, 1], table[:, 2], "LAMMPS", None, coordination, ("taken for rows of LAMMPS' compute rdf",)
        )
    notes = (f"{table.shape[1]} columns: the first two are used",) if table.shape[1] > 2 else ()
    return _Curve(table[:, 0], table[:, 1], "table", notes=notes)


def _counts_neighbours(column: NDArray) -> bool:
    """Return whether a column may be n(r) = 4πρ ∫ g r² dr: near 0 first, never falling, above 1 at the end."""
    rises = np.all(np.diff(column) >= 0)
    return bool(rises and 0 <= column[0] <= FIRST_COORDINATION and column[-1] > LAST_COORDINATION)


def _read_numpy(path: Path, content: bytes) -> _Curve:
    """Read .npy of two columns (or rows), or .npz with r and g by name; pickled objects are refused."""
    allowed = "arrays of numbers: r and g(r)"
    try:
        _check_unpacked_size(path, content)
        found = np.load(io.BytesIO(content), allow_pickle=False)
        if isinstance(found, np.ndarray):
            pair = found if found.ndim == 2 and len(found) == 2 else found.T
            if pair.ndim != 2 or len(pair) < 2:
                raise InputError(path, "", f"an array of shape {found.shape}", allowed)
            return _Curve(*_floats(path, pair[:2]), "table")
        arrays = {name: found[name] for name in found.files}
    except DAMAGED as error:
        raise InputError(path, "", str(error), allowed, "Is the file damaged?") from None
    return _named(path, {name: np.asarray(values) for name, values in arrays.items()})


def _check_unpacked_size(path: Path, content: bytes) -> None:
    if zipfile.is_zipfile(io.BytesIO(content)):
        size = sum(entry.file_size for entry in zipfile.ZipFile(io.BytesIO(content)).infolist())
        if size > MAX_BYTES:
            raise InputError(path, "", f"{size} bytes, unpacked", f"at most {MAX_BYTES} bytes")


def _named(path: Path, columns: dict[str, NDArray]) -> _Curve:
    """Return the columns that are called r and g; a unit in the name of r counts."""
    plain: dict[str, tuple[str, str | None]] = {}
    for name in columns:
        text = name.strip().lower()
        found = _NAME_WITH_UNIT.fullmatch(text)
        stem, unit = (found["name"], _UNIT_NAMES[found["unit"].rstrip("s")]) if found else (text, None)
        plain.setdefault(stem.strip(), (name, unit))
    r_name = next((name for name in R_NAMES if name in plain), None)
    g_name = next((name for name in G_NAMES if name in plain), None)
    if r_name is None or g_name is None:
        raise InputError(path, "columns", ", ".join(columns), "r (r_nm, r_angstrom, bins) and g (rdf)", "Name them so.")
    (r_column, unit), (g_column, _) = plain[r_name], plain[g_name]
    r, g = _floats(path, [columns[r_column], columns[g_column]])
    if (r_name, g_name) == ("bin_centers", "rdf"):
        return _Curve(r, g, "freud", unit)  # the attributes of freud.density.RDF, in whatever unit its box had
    if (r_name, g_name) != ("bins", "rdf"):
        return _Curve(r, g, "table", unit)
    # MDAnalysis' InterRDF gives these names, in Å; without its exclusion_block a bead is its own neighbour at r = 0.
    if g.size > 1 and g[0] > 2 * g[1:].max():
        note = "each molecule was counted as its own neighbour: the first bin is left out"
        return _Curve(r, np.concatenate([[0.0], g[1:]]), "MDAnalysis", unit or "angstrom", None, (note,), "N")
    return _Curve(r, g, "MDAnalysis", unit or "angstrom")


def _floats(path: Path, arrays: Sequence[NDArray]) -> list[NDArray[np.float64]]:
    found = []
    for array in arrays:
        if array.ndim != 1 or array.dtype.kind not in "fiu":
            raise InputError(path, "", f"an array of {array.dtype}, shape {array.shape}", "one column of real numbers")
        found.append(array.astype(np.float64))
    if found[0].shape != found[1].shape:
        raise InputError(path, "", f"{found[0].size} distances, {found[1].size} values", "as many of each")
    return found


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _numbers(path: Path, rows: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    if not rows:
        raise InputError(path, "", "no rows of numbers", "two columns, r and g(r)")
    if any(len(row) != len(rows[0]) for row in rows) or len(rows[0]) < 2:
        lengths = sorted({len(row) for row in rows})
        raise InputError(path, "", f"rows of {lengths} columns", "two columns or more, the same in each row")
    try:
        return np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise InputError(path, "", str(error), "numbers only") from None


def _check_numbers(path: Path, curve: _Curve) -> None:
    r, g = curve.r, curve.g
    if r.size < MIN_ROWS:
        raise InputError(path, "", f"{r.size} rows", f"at least {MIN_ROWS}", "Use bins of 0.01 nm.")
    sound = (np.abs(r) < LARGEST_NUMBER) & (np.abs(g) < LARGEST_NUMBER)
    if not sound.all():
        bad = int(np.argmin(sound))
        raise InputError(path, f"row {bad + 1}", f"{r[bad]:g} {g[bad]:g}", f"numbers below {LARGEST_NUMBER:g}")
    if np.any(np.diff(r) <= 0) or r[0] < 0:
        raise InputError(path, "r", "distances that do not rise from 0 on", "rising distances", "Is it a g(r)?")
    if g.min() < NEGATIVE_RDF:
        bad = int(np.argmin(g))
        raise InputError(path, f"row {bad + 1}", f"g = {g[bad]:g}", "g(r) ≥ 0", "Is it a g(r)?")
    if g.max() <= 0:
        raise InputError(path, "g", "0 everywhere", "the g(r) of a liquid", "Is it the right column?")
    if np.argmax(g) == g.size - 1:
        raise InputError(
            path, "g", "a curve that rises to the end", "a first peak and g(r) → 1 beyond it", "Is it g(r)?"
        )
    inside = g[r < 0.1 * r[np.argmax(g)]] if r[0] < 0.1 * r[np.argmax(g)] else g[:1]
    if np.argmax(g) == 0 or inside.mean() > CORE_RDF:
        found = f"g = {inside.mean():.3g} at the smallest distances"
        raise InputError(path, "g", found, "a core, where g(r) is 0", "Is it the g(r) of centres of mass?")


def _unit(path: Path, curve: _Curve, number_density_nm3: float, stated: str | None) -> tuple[str, list[str]]:
    if stated is not None and stated not in UNITS:
        raise InputError("--rdf-unit", "", stated, " | ".join(UNITS))
    peak = curve.r[np.argmax(curve.g)]
    low, high = PEAK_RANGE
    distances = {unit: peak * factor * number_density_nm3 ** (1 / 3) for unit, factor in UNITS.items()}
    fitting = [unit for unit, distance in distances.items() if low < distance < high]
    unit = stated or curve.unit
    if unit is None and fitting:
        note = f"distances taken to be in {fitting[0]}: the first peak is then at {distances[fitting[0]]:.2f} ρ^(-1/3)"
        return fitting[0], [note]
    if unit in fitting:
        source = "the file says" if curve.program in ("table", "freud") else f"{curve.program} writes them"
        return unit, [] if stated else [f"distances taken to be in {unit}, as {source}"]
    allowed = f"{low:g} to {high:g} mean distances ρ^(-1/3), which are {number_density_nm3 ** (-1 / 3):.3g} nm"
    advice = f"State --rdf-unit {fitting[0]}." if fitting else "Check the density, the mass and the unit of r."
    found = f"the first peak of g(r) at {peak:g}" + (f" {unit}" if unit else "")
    raise InputError(path, "r", found, allowed, advice)


def _check_coordination(path: Path, curve: _Curve, number_density_nm3: float, factor: float) -> None:
    """Check the density against LAMMPS' own count of neighbours, n(r) = 4πρ ∫ g r² dr."""
    if curve.coordination is None:
        return
    r = curve.r * factor
    volume = 4 * np.pi * np.sum(curve.g * r**2 * np.gradient(r))
    counted = curve.coordination[-1] / volume
    if abs(counted / number_density_nm3 - 1) > COORDINATION_TOLERANCE:
        found = f"{number_density_nm3:.4g} molecules/nm³ by density and mass"
        allowed = f"{counted:.4g}/nm³, as the coordination numbers in the file say"
        raise InputError(path, "coordination", found, allowed, "Check density, mass and unit.")


def _normalisation(curve: _Curve, stated: str | None) -> tuple[str, list[str]]:
    if stated is not None:
        if stated not in NORMALISATIONS:
            raise InputError("--normalisation", "", stated, " | ".join(NORMALISATIONS))
        return stated, []
    used = curve.normalisation or PROGRAM_NORMALISATION[curve.program]
    if curve.program == "table":
        return used, [f"taken to be normalised by {used} (state --normalisation N of a curve by gmx, VOTCA or freud)"]
    if curve.program == "freud":
        # Its normalization_mode "exact", the default, tends to 1 − 1/N; "finite_size" multiplies that by N/(N − 1).
        return used, ["taken to be normalised by N, as freud does (state --normalisation N-1 of its finite_size)"]
    return used, [f"taken to be normalised by {used}, as {curve.program} does"]


def _normalised(rdf: NDArray, used: str, n_molecules: float | None) -> tuple[NDArray[np.float64], list[str]]:
    if n_molecules is None:
        advice = "give --molecules (or --normalisation N, if that is what it is normalised by)"
        doubt = f"the number of molecules is not given, and a g(r) normalised by N − 1 is too high by 1/N: {advice}"
        return rdf, [doubt] if used == "N-1" else []
    if not 2 <= n_molecules < np.inf:
        raise InputError("--molecules", "", n_molecules, "a finite number, at least 2")
    return (rdf * n_molecules / (n_molecules - 1) if used == "N" else rdf), []


def _box_doubts(number_density_nm3: float, n_molecules: float | None) -> list[str]:
    """Return the doubt about a box (N/ρ)^(1/3) that is no two ranges of g(r) wide."""
    least_nm = 2 * R_EDGES_NM[-1]
    edge_nm = np.inf if n_molecules is None else (n_molecules / number_density_nm3) ** (1 / 3)
    if edge_nm >= least_nm:
        return []
    found = f"a cube of {n_molecules:g} molecules is {edge_nm:.3g} nm wide at this density"
    wanted = f"g(r) to {R_EDGES_NM[-1]:g} nm takes a box of {least_nm:g} nm"
    return [f"{found}, and {wanted}: check --molecules, the density and the mass"]


def _check_tail(path: Path, rdf: NDArray, number_density_nm3: float) -> None:
    # A mean distance is the period of the waves of g(r), which so cancel.
    start_nm = R_EDGES_NM[-1] - np.clip(number_density_nm3 ** (-1 / 3), *TAIL_RANGE_NM)
    tail = start_nm < R_NM
    mean = float(np.average(rdf[tail], weights=R_NM[tail] ** 2))
    if not abs(mean - 1) <= TAIL_TOLERANCE:
        found = f"a mean of {mean:.3g} from {start_nm:.2f} nm on"
        advice = "Is it another column, not normalised, or of a box that is not one liquid?"
        raise InputError(path, "g", found, f"g(r) → 1, within {TAIL_TOLERANCE:g}", advice)
