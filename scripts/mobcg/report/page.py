"""The report as one HTML file that needs nothing else: figures embedded, no script, no address to load from."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from mobcg.database.card import ROUGH
from mobcg.report.release import Release, failures, program_versions, remarks, retries
from mobcg.report.scores import ERRORS, HEADINGS, SET_PRESSURE, TIE_ERRORS, Score, Summary, table_cells
from mobcg.schema import TABLES

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 72rem; margin: 0 auto;
  padding: 1rem 1.25rem 4rem; }
h1 { line-height: 1.2; margin-bottom: .2rem; } h2 { margin-top: 2.6rem; }
p, figcaption, li { max-width: 60rem; }
.banner { background: #fff3cd; border: 2px solid #b58105; padding: .6rem 1rem; font-weight: 600; }
.note { color: #555; font-size: .9rem; }
nav a { margin-right: .9rem; white-space: nowrap; }
figure { margin: 1rem 0; overflow-x: auto; } img { max-width: 100%; height: auto; }
figcaption { font-size: .93rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #ddd; }
th { border-bottom: 2px solid #333; } th, .text { text-align: left; }
td.reason { white-space: normal; text-align: left; }
tr.best td { font-weight: 700; background: #eef5fb; } tr.first td { border-top: 1.5px solid #555; }
code { background: #f3f3f3; padding: .05rem .3rem; overflow-wrap: anywhere; }
"""
# Columns of the scoreboard that are words, aligned left.
TEXT_COLUMNS = dict.fromkeys((0, 1, len(HEADINGS) - 1), ' class="text"')


@dataclass(frozen=True)
class Illustration:
    """A figure of the page: PNG bytes, how to read it (`caption`), what is seen in it, and what is missing."""

    name: str
    title: str
    png: bytes
    caption: str
    seen: str
    notes: tuple[str, ...]


def page(
    title: str,
    release: Release,
    scores: Sequence[Score],
    summaries: Sequence[Summary],
    references: Sequence[Score],
    illustrations: Sequence[Illustration],
    rough: bool,
    command: str,
) -> str:
    """Return the HTML document. Every text of the release is escaped."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">",
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(_subtitle(release))}</p>",
    ]
    if rough:
        parts.append(f'<p class="banner" role="alert">{escape(ROUGH)}</p>')
    parts += [_contents(illustrations), _scoreboard(scores, summaries, references)]
    parts += [_figure(illustration) for illustration in illustrations]
    parts += [_inventory(release), _failed(release), _provenance(release, command), "</body></html>"]
    return "\n".join(parts) + "\n"


def _subtitle(release: Release) -> str:
    facts = [f"Release {release.name}"]
    facts += [f"{key.replace('_', ' ')} {value}" for key, value in sorted(release.metadata.items()) if len(value) < 80]
    return " · ".join(facts)


def _contents(illustrations: Sequence[Illustration]) -> str:
    links = [("table", "Table of scores"), *((i.name, i.title) for i in illustrations), ("made", "How it was made")]
    return "<nav>" + " ".join(f'<a href="#{name}">{escape(text)}</a>' for name, text in links) + "</nav>"


def _scoreboard(scores: Sequence[Score], summaries: Sequence[Summary], references: Sequence[Score]) -> str:
    heading = '<h2 id="table">Table of scores</h2>'
    if not scores:
        return f'{heading}<p class="note">No model was scored in this release.</p>'
    rows, previous = [], None
    for best, cells in table_cells(scores, summaries, references):
        classes = " ".join(["best"] * best + ["first"] * (cells[0] != previous))
        previous = cells[0]
        opening = f'<tr class="{classes}">' if classes else "<tr>"
        texts = (f"<td{TEXT_COLUMNS.get(index, '')}>{escape(cell)}</td>" for index, cell in enumerate(cells))
        rows.append(opening + "".join(texts) + "</tr>")
    head = "".join(f"<th>{escape(name)}</th>" for name in HEADINGS)
    return (
        f"{heading}<p>Means ± standard errors over replicas, at the density of the atomistic (AA) liquid. "
        "S = sqrt((e/0.1)² + (ln α/ln 2)²) of these means, smaller is better; an e of 0.1 "
        "weighs as much as a factor of 2 in D. "
        f"<b>best</b>: smallest S of its liquid; tied: within {TIE_ERRORS:g} standard errors of it. "
        f"Means over liquids: α geometric, e and S arithmetic. {escape(ERRORS)} {SET_PRESSURE}</p>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _figure(illustration: Illustration) -> str:
    data = base64.b64encode(illustration.png).decode("ascii")
    alternative = f"{illustration.title}. {illustration.seen}"
    notes = "".join(f"<li>{escape(note)}</li>" for note in illustration.notes)
    return (
        f'<h2 id="{escape(illustration.name)}">{escape(illustration.title)}</h2><figure>'
        f'<img src="data:image/png;base64,{data}" alt="{escape(alternative)}">'
        f"<figcaption><b>{escape(illustration.seen)}</b> {escape(illustration.caption)}</figcaption></figure>"
        + (f'<ul class="note">{notes}</ul>' if notes else "")
    )


def _inventory(release: Release) -> str:
    rows = []
    for name, table in TABLES.items():
        count = "missing" if name in release.missing else str(len(release.rows[name]))
        failed = str(len(release.failed(name))) if name not in release.missing and _has_status(name) else ""
        rows.append(
            f'<tr><td class="text">{name}</td><td>{count}</td><td>{failed}</td>'
            f'<td class="reason">{escape(table.description)}</td></tr>'
        )
    return (
        '<h2 id="inventory">What is in the release</h2><div class="scroll"><table><thead><tr><th>table</th>'
        f"<th>rows</th><th>failed</th><th>what a row is</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _has_status(table: str) -> bool:
    return any(column.name == "status" for column in TABLES[table].columns)


def _failed(release: Release) -> str:
    failed = failures(release)
    parts = [_reasons("Runs that failed", failed) if failed else '<p class="note">No run failed.</p>']
    repeated = retries(release)
    if repeated:
        parts.append(_reasons("Runs that were retried", repeated))
    noted = remarks(release)
    if noted:
        parts.append(_reasons("Remarks on runs that succeeded", noted))
    return "".join(parts)


def _reasons(heading: str, reasons: Sequence[tuple[str, str, int]], most: int = 25) -> str:
    rows = "".join(
        f'<tr><td class="text">{escape(table)}</td><td>{count}</td><td class="reason">{escape(reason[:300])}</td></tr>'
        for table, reason, count in reasons[:most]
    )
    rest = f'<p class="note">and {len(reasons) - most} more.</p>' if len(reasons) > most else ""
    return (
        f'<h3>{escape(heading)}</h3><div class="scroll"><table><thead><tr><th>table</th><th>rows</th><th>what</th></tr>'
        f"</thead><tbody>{rows}</tbody></table></div>{rest}"
    )


def _provenance(release: Release, command: str) -> str:
    versions = "".join(
        f"<li>{escape(program)} {escape(', '.join(found))}</li>" for program, found in program_versions(release).items()
    )
    bound = f"It shows the release whose SHA256SUMS has the SHA-256 <code>{release.digest}</code>. "
    return (
        '<h2 id="made">How it was made</h2>'
        f"<p>This page: <code>{escape(command)}</code>. {bound if release.digest else ''}"
        "The release: <code>make release</code>, from the molecules and the scale file of its configuration.</p>"
        "<p>Every random seed is drawn from the SHA-256 of the run's specification, which stands in the column "
        "<code>spec</code> of each row; the same specification gives the same seed on every machine.</p>"
        f"<p>Programs that made the rows:</p><ul>{versions or '<li>none recorded</li>'}</ul>"
    )


def caption_text(rst: str) -> str:
    """Return a caption file as one line of plain text."""
    return " ".join(rst.split())
