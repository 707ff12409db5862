"""What mobility alone does not tell of the dynamics: whether neighbours move together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from mobcg.report.liquids import Liquid, is_own_choice, mean_of
from mobcg.report.style import ATOMISTIC_COLOUR, FAINT, LOOKS, Exhibit, blank, legend_above, marker_size
from mobcg.schema import MODELS

COLUMN = "neighbour_correlation"


def neighbours(liquids: Sequence[Liquid]) -> Exhibit:
    """Draw the correlation of the displacements of neighbours for each liquid, atomistic and with every model."""
    title = "Do neighbours move together?"
    references = {liquid.molecule_id: mean_of(liquid.atomistic, COLUMN) for liquid in liquids}
    known = [liquid for liquid in liquids if np.isfinite(references[liquid.molecule_id][0])]
    if not known:
        return blank("neighbours", title, "no atomistic liquid has a neighbour_correlation")
    figure = Figure(figsize=(9.2, 3.4))
    area = figure.subplots()
    ratios: dict[str, list[float]] = {}
    for place, liquid in enumerate(known):
        value, error = references[liquid.molecule_id]
        label = "atomistic" if place == 0 else None
        area.errorbar(place, value, error, color=ATOMISTIC_COLOUR, marker="_", markersize=26, label=label, zorder=3)
        shown = [v for v in liquid.variants if v.rows and is_own_choice(*v.key) and v.model != "ibi_scaled"]
        for variant in shown:
            found, found_se = mean_of(variant.rows, COLUMN)
            if not np.isfinite(found):
                continue
            look = LOOKS[variant.model]
            area.errorbar(
                place + 0.09 * (MODELS.index(variant.model) - 3),
                found,
                found_se,
                color=look.colour,
                marker=look.marker,
                markersize=0.8 * marker_size(variant.model),
                linestyle="none",
                label=None if variant.model in ratios else look.label,
            )
            ratios.setdefault(variant.model, []).append(found / value)
    area.axhline(0, color=FAINT, linewidth=0.7)
    area.set_xticks(range(len(known)), [liquid.name for liquid in known], rotation=20, ha="right")
    area.set_ylabel("correlation of the displacements\nof first neighbours")
    legend_above(figure, area.get_legend_handles_labels()[0])
    told = ", ".join(f"{LOOKS[model].label} {np.mean(values):.2f}" for model, values in ratios.items())
    seen = f"{len(known)} liquids. Over that of the atomistic liquid, mean: {told or 'no model is scored'}."
    return Exhibit("neighbours", title, figure, seen)
