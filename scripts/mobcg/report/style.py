"""How every figure looks: one colour, marker and line style for each model, on every page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mobcg.records import atomic_path

PNG_DPI = 150
MIN_WIDTH = 5.4  # inches: what a legend needs


class Look(NamedTuple):
    """Label, colour, marker and line style of a model."""

    label: str
    colour: str
    marker: str
    line: str | tuple


# Hues told apart by readers with red-green blindness; one family of hues for each origin of the potential. Markers and
# line styles differ as well, for print in grey.
LOOKS = {
    "ibi": Look("IBI", "#0072B2", "o", (0, (5, 1.5))),
    "ibi_scaled": Look("IBI × s", "#56B4E9", "s", (0, (1, 1))),
    "ibi_dpd": Look("IBI + DPD", "#003F63", "D", (0, (4, 1, 1, 1))),
    "ibi_langevin": Look("IBI + Langevin", "#7B8FD4", "d", (0, (4, 1, 1, 1, 1, 1))),
    "bag2024": Look("Bag et al. 2024", "#E69F00", "^", (0, (3, 1, 1, 1))),
    "mobcg": Look("mobcg", "#C8102E", "*", "-"),
    "mobcg_dpd": Look("mobcg + DPD", "#7A0B3B", "P", (0, (6, 1, 1, 1, 1, 1))),
    "mobcg_langevin": Look("mobcg + Langevin", "#E377A2", "X", (0, (2, 1))),
    "pair_fm": Look("pair force matching", "#5D8A00", "v", (0, (8, 2))),
    "schnet": Look("SchNet", "#009E73", "<", (0, (3, 2))),
    "hipnn": Look("HIP-NN-TS", "#00513B", ">", (0, (2, 2))),
}
ATOMISTIC_COLOUR = "#000000"
MUTED = "#8A8A8A"
FAINT = "#D9D9D9"

_PARAMETERS = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "errorbar.capsize": 2,
    "text.parse_math": False,
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class Exhibit:
    """A figure, what is seen in it (plain text with its numbers) and what could not be shown."""

    name: str
    title: str
    figure: Figure
    seen: str
    notes: tuple[str, ...] = field(default=())


@contextmanager
def drawing() -> Iterator[None]:
    """Hold the style of the report while figures are made; the caller's own settings come back."""
    with style.context(["default", _PARAMETERS]):
        yield


def marker_size(model: str) -> float:
    """Return the marker size (points) that makes the models' markers look equally large."""
    return {"*": 9.5, "P": 6.5, "X": 6.5, "D": 4.8, "d": 6, "s": 4.6}.get(LOOKS[model].marker, 5.6)


def panels(count: int, columns: int = 4, width: float = 2.65, height: float = 2.35) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` axes in a grid that shares x and y, row by row."""
    columns = max(1, min(columns, count))
    rows = -(-count // columns)
    figure = Figure(figsize=(max(width * columns, MIN_WIDTH), height * rows + 0.5))
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for spare in axes.flat[count:]:
        spare.set_axis_off()
    for above in axes.flat[max(count - columns, 0) : count]:
        above.tick_params(labelbottom=True)
    return figure, list(axes.flat[:count])


# Width (inches) of a character of a legend and of what stands beside its text.
LEGEND_CHARACTER, LEGEND_HANDLE = 0.072, 0.62


def legend_above(figure: Figure, handles: Sequence, columns: int = 7) -> None:
    """Put one legend over all panels, without repeats, in as many columns as the figure is wide."""
    unique = {handle.get_label(): handle for handle in handles}
    entry = LEGEND_HANDLE + LEGEND_CHARACTER * max(map(len, unique))
    rows = -(-len(unique) // max(1, min(columns, int(figure.get_figwidth() / entry))))
    balanced = -(-len(unique) // rows)
    figure.legend(handles=list(unique.values()), loc="outside upper center", ncols=balanced, handlelength=2.6)


def blank(name: str, title: str, why: str) -> Exhibit:
    """Return an exhibit that says why there is nothing to show."""
    figure = Figure(figsize=(6, 1.4))
    figure.text(0.5, 0.5, f"{title}: {why}", ha="center", va="center", color=MUTED, wrap=True)
    return Exhibit(name, title, figure, f"Nothing to show: {why}.", (why,))


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, the same bytes for the same figure."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=PNG_DPI, metadata={"Software": None})
