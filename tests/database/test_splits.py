import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobcg.database.splits import ALL, VALIDATION_FRACTION, liquids, roots, split_rows, validation_liquids

NAMES = st.text("abcdefgh", min_size=1, max_size=6)


def potential(name, origin="ibi", parent=None):
    return {"potential_id": name, "origin": origin, "parent_id": parent}


def test_roots_follow_scaled_and_perturbed_potentials_to_the_inverted_one():
    table = [potential("a", parent="run"), potential("b", "scaled", "a"), potential("c", "perturbed", "b")]
    table += [potential("p", "predicted")]
    assert roots(table) == {"a": "a", "b": "a", "c": "a", "p": "p"}


@pytest.mark.parametrize(
    "table",
    [[potential("b", "scaled", "gone")], [potential("a", "scaled", "b"), potential("b", "scaled", "a")]],
    ids=["orphan", "loop"],
)
def test_potential_without_a_root_is_an_error(table):
    with pytest.raises(ValueError, match="descends"):
        roots(table)


def test_two_inversions_of_one_force_field_are_one_liquid():
    table = [potential("corrected", parent="run1"), potential("plain", parent="run2"), potential("alone", "predicted")]
    assert liquids(table, {"run1": "ff", "run2": "ff"}) == {"corrected": "ff", "plain": "ff", "alone": "alone"}


@given(st.sets(NAMES, max_size=30), st.sets(NAMES, max_size=30))
def test_validation_is_never_empty_nor_all_and_more_liquids_move_few(some, more):
    held_out = validation_liquids(some)
    assert held_out <= some
    if len(some) > 1:
        assert 0 < len(held_out) < len(some)
    # A liquid whose own hash holds it out stays held out whatever else there is.
    both = validation_liquids(some | more)
    if len(held_out) > 1:
        assert held_out <= both or len(both) == len(some | more) - 1


def test_about_a_seventh_validates():
    found = validation_liquids({f"liquid {number}" for number in range(4000)})
    assert len(found) / 4000 == pytest.approx(VALIDATION_FRACTION, abs=0.02)


def test_liquids_without_a_molecule_train_and_validate_in_every_fold():
    """Each of 200 liquids of the prior with two rows, on one side; the hash chooses it, so the same in all folds."""
    names = [f"p{number}" for number in range(200)]
    table = [potential(name, "prior") for name in names] + [potential("a", parent="run")]
    root_of, liquid_of = roots(table), liquids(table, {"run": "ff"})
    potentials = [*names, *names, "a"]
    runs = [str(number) for number in range(401)]
    coarse = {"run_id": runs, "potential_id": potentials, "molecule_id": [None] * 400 + ["benzene"]}
    rows = split_rows(coarse, root_of, liquid_of, ["benzene"])
    assert {row["fold"] for row in rows} == {"benzene", ALL}
    sides = {(row["fold"], row["run_id"]): row["split"] for row in rows}
    for fold in ("benzene", ALL):
        assert all(sides[fold, runs[number]] == sides[fold, runs[number + 200]] for number in range(200))
        held_out = [sides[fold, run] == "validation" for run in runs[:200]]
        assert sum(held_out) / 200 == pytest.approx(VALIDATION_FRACTION, abs=0.07)
        assert {sides[fold, run] for run in runs[:400]} == {"train", "validation"}
    assert sides["benzene", "400"] == "test"
    own = [row for row in rows if row["run_id"] == "3"]
    assert {(row["parent_molecule_id"], row["parent_potential_id"]) for row in own} == {(None, "p3")}


@given(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=40, unique_by=lambda pair: pair[0]))
def test_every_row_once_in_every_fold_and_no_liquid_on_two_sides(pairs):
    """Rows of random potentials: the first letter is the molecule, two are the liquid, three the parent potential."""
    runs, potentials = zip(*pairs, strict=True)
    molecules = [name[0] for name in potentials]
    root_of = {name: name[:3] for name in potentials}
    liquid_of = {root: root[:2] for root in root_of.values()}
    coarse = {"run_id": runs, "potential_id": potentials, "molecule_id": molecules}
    rows = split_rows(coarse, root_of, liquid_of, sorted(set(molecules)))
    for fold in {*molecules, ALL}:
        here = [row for row in rows if row["fold"] == fold]
        assert sorted(row["run_id"] for row in here) == sorted(runs)
        sides = {}
        for row in here:
            assert (row["split"] == "test") == (row["parent_molecule_id"] == fold)
            sides.setdefault(liquid_of[row["parent_potential_id"]], set()).add(row["split"])
        assert all(len(found) == 1 for found in sides.values())
        others = [found for found in sides.values() if found != {"test"}]
        if len(others) > 1:
            assert {"train"} in others
            assert {"validation"} in others
