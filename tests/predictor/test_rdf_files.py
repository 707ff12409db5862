import gzip

import numpy as np
import pytest

from mobcg.errors import InputError
from mobcg.pair import R_EDGES_NM, R_NM
from mobcg.predictor.rdf_files import read_rdf, to_grid
from tests.predictor.dense import DENSITY, dense_rdf


def of_bins(edges_nm):
    """The same as a histogram has it: the mean of g over each bin, weighted by r²."""
    fine = np.linspace(edges_nm[:-1], edges_nm[1:], 41)
    return np.trapezoid(dense_rdf(fine) * fine**2, fine, axis=0) / np.trapezoid(fine**2, fine, axis=0)


EXPECTED = of_bins(R_EDGES_NM)


def rows(*columns, mark=" ") -> str:
    return "".join(mark.join(f"{value:.8g}" for value in row) + "\n" for row in zip(*columns, strict=True))


def votca(path):
    """csg_stat with step 0.01: bins centred on 0, 0.01, …; r, g, error and the flag of each row."""
    r = np.arange(161) * 0.01
    g = of_bins(np.append(np.maximum(r - 0.005, 0), 1.605))
    lines = [f"{x:.3f} {y:.6f} 0.001 {'i' if x < 1.55 else 'o'}" for x, y in zip(r, g, strict=True)]
    path.write_text("# Created on Sat Nov 21 2026\n" + "\n".join(lines) + "\n")
    return "VOTCA", "nm"


def votca_on_our_grid(path):
    path.write_text("".join(f"{x:g} {y:.10g} i\n" for x, y in zip(R_NM, EXPECTED, strict=True)))
    return "VOTCA", "nm"


def gmx(path):
    r = np.arange(900) * 0.002
    text = '# gmx rdf\n@    title "Radial distribution"\n@    xaxis  label "r (nm)"\n@    yaxis  label "g(r)"\n'
    path.write_text(text + rows(r, of_bins(np.append(np.maximum(r - 0.001, 0), 1.799))))
    return "gmx", "nm"


def gmx_bare(path):
    """gmx rdf -xvg none: no settings of a plot."""
    gmx(path)
    path.write_text("".join(line for line in path.open() if line[0] not in "#@"))
    return "gmx", "nm"


def lammps(path):
    edges = np.arange(161) * 0.1
    r, g = (edges[1:] + edges[:-1]) / 2, of_bins(edges / 10)
    coordination = np.cumsum(g * np.diff((edges / 10) ** 3)) * 4 / 3 * np.pi * DENSITY
    index = np.arange(1, r.size + 1)
    blocks = "".join(
        f"{step} {r.size}\n" + rows(index, r, g * f, coordination * f) for step, f in ((0, 0.99), (9, 1.01))
    )
    path.write_text(
        "# Time-averaged data for fix rdf\n# TimeStep Number-of-rows\n# Row c_rdf[1] c_rdf[2] c_rdf[3]\n" + blocks
    )
    return "LAMMPS", "angstrom"


def mdanalysis(path):
    edges = np.linspace(0, 16, 161)
    np.savez(path, bins=(edges[1:] + edges[:-1]) / 2, rdf=of_bins(edges / 10), edges=edges)
    return "MDAnalysis", "angstrom"


def freud(path):
    """Its normalization_mode "exact" tends to 1 − 1/N, here of an N that is not told."""
    np.savez(path, bin_centers=R_NM, rdf=EXPECTED)
    return "freud", "nm"


def npy(path):
    np.save(path, np.column_stack([10 * R_NM, EXPECTED]))
    return "table", "angstrom"


def csv(path):
    path.write_text(',"r (Å)","g(r)"\n' + rows(np.arange(150), 10 * R_NM, EXPECTED, mark=","))
    return "table", "angstrom"


def plain(path):
    path.write_text(rows(R_NM, EXPECTED, mark="\t"))
    return "table", "nm"


FILES = {
    "CG.dist.tgt": votca,
    "CG.dist.new": votca_on_our_grid,
    "rdf.xvg": gmx,
    "bare.xvg": gmx_bare,
    "rdf.txt": lammps,
    "rdf.npz": mdanalysis,
    "freud.npz": freud,
    "rdf.npy": npy,
    "rdf.csv": csv,
    "rdf.tsv": plain,
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_curve(name, tmp_path):
    program, unit = FILES[name](tmp_path / name)
    found = read_rdf(tmp_path / name, DENSITY)
    assert (found.program, found.unit) == (program, unit)
    np.testing.assert_allclose(found.rdf, EXPECTED, atol=4e-3)
    assert np.all(found.rdf[R_NM < 0.3] < 1e-6)
    assert any(unit in note for note in found.notes)


def test_pairs_within_each_distance_are_kept():
    edges = np.linspace(0, 1.6, 321)
    given = of_bins(edges)
    found, _ = to_grid("", (edges[1:] + edges[:-1]) / 2, given)
    shells = np.diff(edges**3)
    pairs = (given * shells)[:300].reshape(150, 2).sum(axis=1) / shells[:300].reshape(150, 2).sum(axis=1)
    np.testing.assert_allclose(found, pairs, rtol=1e-9)


def test_wide_bins_are_read_and_said():
    edges = np.linspace(0, 1.6, 81)
    found, notes = to_grid("", (edges[1:] + edges[:-1]) / 2, of_bins(edges))
    np.testing.assert_allclose(found, EXPECTED, atol=0.03)
    assert "smear" in notes[0]


@pytest.mark.parametrize("n_molecules", [None, 290])
def test_what_a_table_is_normalised_by_does_not_depend_on_the_number_of_molecules(n_molecules, tmp_path):
    plain(tmp_path / "rdf.dat")
    found = read_rdf(tmp_path / "rdf.dat", DENSITY, n_molecules=n_molecules)
    assert found.normalisation == "N-1"
    np.testing.assert_allclose(found.rdf, EXPECTED, atol=1e-6)
    assert [("--molecules" in doubt) for doubt in found.doubts] == ([True] if n_molecules is None else [])


def test_a_curve_normalised_by_n_needs_no_number_of_molecules(tmp_path):
    plain(tmp_path / "rdf.dat")
    gmx(tmp_path / "rdf.xvg")
    assert read_rdf(tmp_path / "rdf.dat", DENSITY, normalisation="N").doubts == ()
    assert read_rdf(tmp_path / "rdf.xvg", DENSITY).doubts == ()


@pytest.mark.parametrize("n_molecules", [1, -5, np.inf, np.nan])
def test_a_number_of_molecules_that_cannot_be_is_refused(n_molecules, tmp_path):
    plain(tmp_path / "rdf.dat")
    with pytest.raises(InputError, match="--molecules"):
        read_rdf(tmp_path / "rdf.dat", DENSITY, normalisation="N", n_molecules=n_molecules)


def test_normalisation_by_n_is_undone(tmp_path):
    gmx(tmp_path / "rdf.xvg")
    unknown = read_rdf(tmp_path / "rdf.xvg", DENSITY)
    known = read_rdf(tmp_path / "rdf.xvg", DENSITY, n_molecules=100)
    stated = read_rdf(tmp_path / "rdf.xvg", DENSITY, normalisation="N-1", n_molecules=100)
    np.testing.assert_allclose(known.rdf, unknown.rdf * 100 / 99)
    np.testing.assert_array_equal(stated.rdf, unknown.rdf)
    assert (unknown.n_molecules, known.n_molecules) == (np.inf, 100)


def test_a_curve_of_freud_is_normalised_by_n_unless_told_otherwise(tmp_path):
    (tmp_path / "rdf.csv").write_text("bin_centers,rdf\n" + rows(10 * R_NM, EXPECTED * 289 / 290, mark=","))
    found = read_rdf(tmp_path / "rdf.csv", DENSITY, n_molecules=290)
    assert (found.program, found.normalisation, found.unit, found.doubts) == ("freud", "N", "angstrom", ())
    assert any("finite_size" in note for note in found.notes)
    np.testing.assert_allclose(found.rdf, EXPECTED, atol=1e-6)
    finite_size = read_rdf(tmp_path / "rdf.csv", DENSITY, normalisation="N-1", n_molecules=290)
    np.testing.assert_allclose(finite_size.rdf, EXPECTED * 289 / 290, atol=1e-6)


def test_a_box_too_small_for_the_range_of_the_curve_is_a_doubt(tmp_path):
    plain(tmp_path / "rdf.dat")
    least = DENSITY * 3.0**3
    for n_molecules, doubted in ((1.01 * least, False), (0.99 * least, True)):
        doubts = read_rdf(tmp_path / "rdf.dat", DENSITY, n_molecules=n_molecules).doubts
        assert [("takes a box of 3 nm" in doubt) for doubt in doubts] == [True] * doubted


def test_the_stated_unit_wins_over_that_of_the_program(tmp_path):
    (tmp_path / "rdf.xvg").write_text('@    yaxis  label "g(r)"\n' + rows(10 * R_NM, EXPECTED))
    with pytest.raises(InputError, match=r"first peak.*--rdf-unit angstrom"):
        read_rdf(tmp_path / "rdf.xvg", DENSITY)
    np.testing.assert_allclose(read_rdf(tmp_path / "rdf.xvg", DENSITY, unit="angstrom").rdf, EXPECTED, atol=1e-6)


def table(r=R_NM, g=EXPECTED) -> str:
    return rows(r, g)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (table(R_NM[:120], EXPECTED[:120]), "up to 1.200 nm"),
        (table(R_NM[::4], EXPECTED[::4]), "bins of 0.04 nm"),
        (table(R_NM[::10], EXPECTED[::10]), "15 rows"),
        (table(g=1.1 * EXPECTED), "a mean of 1.1"),
        (table(g=EXPECTED - 1), "g = -1"),
        (table(g=np.where(R_NM > 1.4, np.nan, EXPECTED)), "row 141"),
        (table(g=np.where(R_NM > 1.4, np.inf, EXPECTED)), "row 141"),
        (table(g=np.where(R_NM > 1.4, 1e300, EXPECTED)), "row 141"),
        (table(g=np.zeros(150)), "0 everywhere"),
        (table(g=np.ones(150)), "a core"),
        (table(g=np.cumsum(EXPECTED)), "rises to the end"),
        (table(g=np.random.default_rng(1).uniform(0, 2, 150)), "a core"),
        (table(r=R_NM[::-1]), "distances that do not rise"),
        (table(R_NM[56:], EXPECTED[56:]), "a core"),
        ('@ title "GROMACS Energies"\n@    yaxis  label "(K)"\n' + table(), "yaxis label"),
        ("r_nm,cn\n" + rows(R_NM, EXPECTED, mark=","), "r_nm, cn"),
        ("hello\nworld\n", "rows of"),
        ("1 2\n3\n" * 30, r"rows of \[1, 2\] columns"),
        ("", "no rows"),
        ("0.1 abc\n" * 30, "could not convert"),
    ],
)
def test_what_is_no_rdf_is_refused_with_the_reason(text, words, tmp_path):
    (tmp_path / "rdf.dat").write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        read_rdf(tmp_path / "rdf.dat", DENSITY)
    assert "rdf.dat" in str(caught.value)


@pytest.mark.parametrize("r_nm", [np.arange(2, 6, 0.02), np.arange(0, 60, 2.0)])
def test_distances_that_pass_over_the_grid_are_named(r_nm):
    with pytest.raises(InputError, match=rf"found '{r_nm[0]:g} and {r_nm[1]:.4g} nm, the first distances'"):
        to_grid("", r_nm, np.where(r_nm < 4, 0.0, 1.0))


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "rdf.trr").write_bytes(bytes(range(256)) * 10)
    with pytest.raises(InputError, match="no text"):
        read_rdf(tmp_path / "rdf.trr", DENSITY)


def test_a_pickle_in_an_archive_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path / "ran").mkdir, ()

    np.savez(tmp_path / "rdf.npz", bins=R_NM, rdf=np.array([Bomb()], dtype=object))
    with pytest.raises(InputError, match="allow_pickle"):
        read_rdf(tmp_path / "rdf.npz", DENSITY)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("factor", [0.001, 1000.0, 0.01])
def test_a_density_in_another_unit_is_noticed(factor, tmp_path):
    plain(tmp_path / "rdf.dat")
    with pytest.raises(InputError, match="first peak"):
        read_rdf(tmp_path / "rdf.dat", DENSITY * factor, unit="nm")


def test_the_density_is_checked_against_the_neighbours_that_lammps_counted(tmp_path):
    lammps(tmp_path / "rdf.txt")
    with pytest.raises(InputError, match=r"coordination: found '7.8 .*6.5"):
        read_rdf(tmp_path / "rdf.txt", 1.2 * DENSITY)


@pytest.mark.parametrize("name", ["rdf.npz", "rdf.NPZ"])
def test_a_suffix_may_be_in_capitals(name, tmp_path):
    mdanalysis(tmp_path / "rdf.npz")
    (tmp_path / "rdf.npz").rename(tmp_path / name)
    assert read_rdf(tmp_path / name, DENSITY).program == "MDAnalysis"


def test_a_mark_of_excel_is_no_part_of_the_first_name_or_number(tmp_path):
    for text in ("r_nm, g\n" + rows(R_NM, EXPECTED, mark=", "), table()):
        (tmp_path / "rdf.csv").write_text(text, encoding="utf-8-sig")
        np.testing.assert_allclose(read_rdf(tmp_path / "rdf.csv", DENSITY).rdf, EXPECTED, atol=1e-6)


def test_a_packed_file_is_to_be_unpacked(tmp_path):
    (tmp_path / "rdf.dat.gz").write_bytes(gzip.compress(table().encode()))
    with pytest.raises(InputError, match="gunzip"):
        read_rdf(tmp_path / "rdf.dat.gz", DENSITY)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed, lambda path, r, g: np.save(path, np.stack([r, g]))])
def test_a_damaged_archive_is_refused_or_read(save, tmp_path):
    """Bytes at random places are others: zlib, zipfile, the parser of the header and memory all may object."""
    path = tmp_path / ("rdf.npy" if save.__name__ == "<lambda>" else "rdf.npz")
    save(path, r=R_NM, g=EXPECTED)
    content, random = path.read_bytes(), np.random.default_rng(1)
    refused = 0
    for _ in range(400):
        damaged = bytearray(content)
        for place in random.integers(0, min(len(content), 2000), random.integers(1, 4)):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        try:
            read_rdf(path, DENSITY)
        except InputError:
            refused += 1
    assert refused > 20


def test_an_archive_that_unpacks_to_gigabytes_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "rdf.npz", r=R_NM, g=EXPECTED, frames=np.zeros(10**7))
    with pytest.raises(InputError, match="unpacked"):
        read_rdf(tmp_path / "rdf.npz", DENSITY)


def test_lammps_without_its_comments_is_read(tmp_path):
    lammps(tmp_path / "rdf.txt")
    text = "".join(line for line in (tmp_path / "rdf.txt").open() if line[0] != "#")
    (tmp_path / "bare.txt").write_text(text)
    found = read_rdf(tmp_path / "bare.txt", DENSITY)
    assert found.program == "LAMMPS"
    np.testing.assert_array_equal(found.rdf, read_rdf(tmp_path / "rdf.txt", DENSITY).rdf)


@pytest.mark.parametrize(
    "fourth",
    [np.full(150, 0.01), 0.02 * EXPECTED, np.linspace(0, 0.9, 150), np.linspace(1, 90, 150), np.linspace(-5, 90, 150)],
    ids=["constant", "error of g", "ends low", "begins high", "negative"],
)
def test_a_fourth_column_that_counts_no_neighbours_is_left_alone(fourth, tmp_path):
    (tmp_path / "rdf.dat").write_text(rows(np.arange(1, 151), R_NM, EXPECTED, fourth))
    found = read_rdf(tmp_path / "rdf.dat", DENSITY)
    assert (found.program, found.unit) == ("table", "nm")
    assert any("the first column counts the rows" in note for note in found.notes)
    np.testing.assert_allclose(found.rdf, EXPECTED, atol=1e-6)


def test_rows_of_lammps_without_their_block_are_checked_by_their_coordination(tmp_path):
    lammps(tmp_path / "rdf.txt")
    lines = (tmp_path / "rdf.txt").read_text().splitlines()[4:164]
    (tmp_path / "rows.txt").write_text("\n".join(lines))
    assert read_rdf(tmp_path / "rows.txt", DENSITY).program == "LAMMPS"
    with pytest.raises(InputError, match="coordination"):
        read_rdf(tmp_path / "rows.txt", 1.2 * DENSITY)


def test_empty_and_torn_blocks_of_lammps_are_left_out_and_said(tmp_path):
    lammps(tmp_path / "rdf.txt")
    lines = (tmp_path / "rdf.txt").read_text().splitlines()
    head, first, last = lines[:3], lines[3:164], lines[164:]
    whole = read_rdf(tmp_path / "rdf.txt", DENSITY).rdf
    empty = ["0 160", *(" ".join([*line.split()[:2], "0", "0"]) for line in first[1:])]
    for torn in ([*last[:100]], [*last[:100], last[100][:9]]):
        (tmp_path / "rdf.txt").write_text("\n".join(head + empty + first + last + torn) + "\n")
        found = read_rdf(tmp_path / "rdf.txt", DENSITY)
        np.testing.assert_array_equal(found.rdf, whole)
        assert "first block of the file is empty" in " ".join(found.notes)
        assert "cut short" in " ".join(found.notes)
    (tmp_path / "rdf.txt").write_text("\n".join(head + first[:100]) + "\n")
    with pytest.raises(InputError, match="cut short"):
        read_rdf(tmp_path / "rdf.txt", DENSITY)
