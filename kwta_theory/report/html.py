"""The report of a run as one HTML file that needs nothing beside it."""

from __future__ import annotations

import html
from collections.abc import Mapping

from kwta_theory.report import table
from kwta_theory.report.figures import Panels, as_svg, drawn, statement_figure
from kwta_theory.statements.case import Statement
from kwta_theory.statements.verdict import Outcome

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1b1b; max-width: 78rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; border-top: 1px solid #ddd; padding-top: 1rem; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid #e3e3e3; }
th { background: #f5f5f2; } .HOLDS { color: #1b6e20; } .REFUTED { color: #b00020; } .VACUOUS { color: #14608a; }
.UNDECIDED { color: #8a6100; } .outcome { font-weight: 600; } blockquote { color: #444; border-left: 3px solid #ccc;
margin-left: 0; padding-left: 1rem; } .figure svg { max-width: 100%; height: auto; } code { font-size: 12px; }
@page { size: A4 landscape; margin: 12mm; }
@media print { body { font-size: 12px; margin: 0; } table { font-size: 10px; } }
"""


def render(
    panels: Mapping[str, Panels], statements: Mapping[str, Statement], settings: Mapping[str, object], error: float
) -> str:
    """The whole page.

    Args:
        panels: for each statement what its figure shows; the verdicts of the run are in there.
        statements: by name, for their titles and texts.
        settings: what the run was asked for, so that it can be repeated.
        error: probability that any interval of the run misses.
    """
    verdicts = [verdict for parts in panels.values() for _, some in parts.values() for verdict in some]
    body = [
        "<h1>The theory of k-Winners-Take-All, verified by computing</h1>",
        f"<p>{html.escape(table.summary(verdicts))}. P is the probability of the conclusion over the draw of W. "
        f"All intervals hold together with probability at least {1 - error:g}.</p>",
        "<p>" + "; ".join(f"{html.escape(k)} = {html.escape(str(v))}" for k, v in settings.items()) + "</p>",
        "<ul>" + "".join(f"<li><b>{o.name}</b>: {html.escape(o.value)}</li>" for o in Outcome) + "</ul>",
    ]
    for name, parts in panels.items():
        body += section(statements[name], parts)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>kwta verify</title>'
        f"<style>{STYLE}</style></head><body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def section(statement: Statement, panels: Panels) -> list[str]:
    """Heading, the statement in the paper's words, figure, table and a sentence for every verdict."""
    columns = table.COLUMNS[1:]
    verdicts = [verdict for _, some in panels.values() for verdict in some]
    parts = [f"<h2>{html.escape(statement.title)}</h2>", f"<blockquote>{html.escape(statement.text)}</blockquote>"]
    if drawn(panels):
        parts.append(f'<div class="figure">{as_svg(statement_figure(panels))}</div>')
    parts.append("<table><tr>" + "".join(f"<th>{name}</th>" for name in columns) + "</tr>")
    for verdict in verdicts:
        cells = [html.escape(cell) for cell in table.row(verdict)[1:]]
        cells[6] = f'<span class="outcome {verdict.outcome.name}">{verdict.outcome.name}</span>'
        parts.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    parts.append("</table><ul>")
    parts += [
        f"<li>{html.escape(verdict.label + table.place(verdict))}: "
        f'<span class="outcome {verdict.outcome.name}">{verdict.outcome.name}</span>: '
        f"{html.escape(table.explanation(verdict))}.</li>"
        for verdict in verdicts
    ]
    parts.append("</ul>")
    parts += [f"<p>Note. {html.escape(note)}</p>" for note in table.notes(verdicts)]
    return parts
