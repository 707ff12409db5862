"""Figure of the rounds of active learning: `python -m mobcg.report.improvement --rounds improve.json --out PNG`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mobcg.errors import InputError
from mobcg.report.style import FAINT, LOOKS, MUTED, drawing, legend_above, save_png
from mobcg.step import run_step


def improvement(told: Mapping[str, Any]) -> Figure:
    """Return the figure of what `mobcg.predictor.improve` wrote: error of U after each round, and what was promised.

    Left the error on held-out liquids of the coarse-grained runs; right the standard error that the model gives U of
    the molecular liquids, before each round, expected of it, and of as many liquids at random.
    """
    rounds, choices = told["rounds"], [choice for choice in told["choices"] if choice]
    figure = Figure(figsize=(8.4, 3.2))
    left, right = figure.subplots(1, 2)
    liquids = [one["liquids"] for one in rounds]
    for key, label, colour, marker in (
        ("near_validation_error_kt", "held out, nearest to the molecules", LOOKS["mobcg"].colour, "o"),
        ("validation_error_kt", "held out, all", MUTED, "s"),
        ("left_out_error_kt", "each parent left out", LOOKS["ibi"].colour, "^"),
    ):
        left.plot(liquids, [one[key] for one in rounds], color=colour, marker=marker, markersize=4.5, label=label)
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.set_xlabel("liquids learned from")
    left.set_ylabel("error of U / kT")
    numbers = range(len(rounds) - len(choices), len(rounds))
    for key, label, colour, shift in (
        ("error_kt", "before the round", FAINT, -0.27),
        ("random_error_kt", "with random liquids", MUTED, 0.0),
        ("expected_error_kt", "with the chosen ones", LOOKS["mobcg"].colour, 0.27),
    ):
        heights = [choice[key] for choice in choices]
        right.bar([number + shift for number in numbers], heights, 0.25, color=colour, label=label)
    right.set_xticks(list(numbers))
    right.set_xlabel("round")
    right.set_ylabel("standard error of U / kT, molecules")
    legend_above(figure, [*left.get_lines(), *right.containers])
    return figure


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.report.improvement", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=Path, required=True, help="improve.json of a scale's results")
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    options = parser.parse_args(arguments)
    if not options.rounds.is_file():
        raise InputError(options.rounds, "", "no such file", "improve.json, as `make improve` writes it")
    with drawing():
        save_png(improvement(json.loads(options.rounds.read_text())), options.out)


if __name__ == "__main__":
    sys.exit(run_step(main))
