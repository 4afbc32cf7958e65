"""Tables as files: CSV with everything, Markdown to read, and the blocks of a page of documentation."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.report import files
from kwta_theory.robustness.evaluation import ERROR
from kwta_theory.robustness.tables import ADAPTIVE, CLEAN, ROBUST, TITLES, Row, orderings


def as_csv(rows: Iterable[Row]) -> str:
    """All rows; the columns are those of the first."""
    rows = list(rows)
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


_NUMBERS = ("paper", "measured", "lower", "upper", "difference", "epsilon", "p_value")
_COUNTS = ("correct", "n", "epochs", "only_first", "only_second")


def read_csv(text: str) -> list[Row]:
    """What :func:`as_csv` wrote."""
    found = []
    for raw in csv.DictReader(io.StringIO(text)):
        row: Row = dict(raw)
        for name in row.keys() & set(_NUMBERS):
            row[name] = float(row[name]) if row[name] else None
        for name in row.keys() & set(_COUNTS):
            row[name] = int(row[name])
        if "explained" in row:
            row["explained"] = {"True": True, "False": False}.get(row["explained"])
        found.append(row)
    return found


def markdown(rows: Sequence[Row]) -> str:
    """One line for each network: in each cell what was measured, its exact interval, and the paper's number.

    A star marks a number of the paper that lies in the interval. The last column is always ``adaptive``.
    """
    if not rows:
        return "Nothing is measured yet.\n"
    columns = list(dict.fromkeys(row["column"] for row in rows if row["column"] not in (ROBUST, ADAPTIVE)))
    columns += [ROBUST, ADAPTIVE]
    lines: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        lines.setdefault((row["network"], row["remark"]), {})[row["column"]] = row
    several = len({(row["data"], row["model"]) for row in rows}) > 1
    remarks = any(row["remark"] for row in rows)
    heads = ["network"] * several + ["training", "activation"] + ["remark"] * remarks
    heads += [TITLES.get(column, column) for column in columns]
    text = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for found in lines.values():
        row = next(iter(found.values()))
        cells = [f"{row['data']} {row['model']}"] * several + [row["training"], row["activation"]]
        cells += [row["remark"]] * remarks
        cells += [_cell(found[column]) if column in found else "" for column in columns]
        text.append(f"| {' | '.join(cells)} |")
    sizes = sorted({row["n"] for row in rows})
    epsilons = ", ".join(f"{value:g}" for value in sorted({row["epsilon"] for row in rows}))
    seeds = ", ".join(sorted({str(row["training_seed"]) for row in rows}))
    text += [
        "",
        f"Percent of n = {', '.join(f'{size:,}' for size in sizes)} test images still classified correctly, with exact "
        f"{1 - ERROR:.0%} binomial intervals; epsilon {epsilons}; training seed {seeds}. In parentheses the paper's "
        "number, with a star where it lies in the interval. A_rob: the lowest of the paper's attacks. adaptive: all "
        "attacks together, image by image.",
        "",
    ]
    return "\n".join(text)


def _cell(row: Row) -> str:
    text = f"{row['measured']:.1f} [{row['lower']:.0f}, {row['upper']:.0f}]"
    if row["paper"] is None:
        return text
    return f"{text} ({row['paper']:g}{'*' if row['explained'] else ''})"


def ordering_markdown(found: Sequence[Row]) -> str:
    """The comparisons with ReLU: clean accuracy, transfer from each source, ``A_rob`` and ``adaptive``."""
    heads = ("pair", "column", "paper", "measured", "only first / only ReLU", "p", "order")
    text = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for row in found:
        if row["column"] in (CLEAN, ROBUST, ADAPTIVE) or row["column"].startswith("from "):
            published = "" if row["paper"] is None else f"{row['paper']:+.1f}"
            column = TITLES.get(row["column"], row["column"])
            text.append(
                f"| {row['twin']}: {row['first']} - {row['second']} | {column} | {published} | "
                f"{row['measured']:+.1f} | {row['only_first']} / {row['only_second']} | {row['p_value']:.2g} | "
                f"{row['said']} |"
            )
    return "\n".join([*text, ""])


def in_words(row: Row) -> str:
    """A row for a terminal: paper beside measured, the difference, and whether the interval explains it."""
    text = (
        f"{TITLES.get(row['column'], row['column'])} {row['measured']:.1f} % [{row['lower']:.1f}, {row['upper']:.1f}]"
    )
    if row["paper"] is None:
        return text
    why = "within the interval" if row["explained"] else "not explained by the interval"
    return f"{text}, paper {row['paper']:g}, difference {row['difference']:+.1f}: {why}"


def write(table: str, rows: Sequence[Row], folder: Path) -> tuple[Path, ...]:
    """``NAME.csv``, ``NAME_orderings.csv`` and ``NAME.md`` in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    compared = orderings(rows)
    texts = {
        f"{table}.csv": as_csv(rows),
        f"{table}_orderings.csv": as_csv(compared),
        f"{table}.md": page(rows, compared),
    }
    for name, text in texts.items():
        files.write_text(folder / name, text)
    return tuple(folder / name for name in texts)


def page(rows: Sequence[Row], compared: Sequence[Row]) -> str:
    """Both tables."""
    return markdown(rows) + ("\n" + ordering_markdown(compared) if compared else "")


# A page of documentation has blocks that are written from committed CSV files.


def block(name: str) -> tuple[str, str]:
    """What a block begins and ends with."""
    return f"<!-- {name}: written by the code, not by hand -->\n", f"<!-- end of {name} -->\n"


def filled(text: str, folder: str | os.PathLike[str]) -> str:
    """A page with each of its blocks written anew from ``FOLDER/NAME.csv``.

    Raises:
        InvalidArgumentError: a block without an end.
    """
    for path in sorted(Path(folder).glob("table_*.csv")):
        if path.stem.endswith("_orderings"):
            continue
        begin, end = block(path.stem)
        if begin in text:
            before, _, rest = text.partition(begin)
            if end not in rest:
                raise InvalidArgumentError(f"the block {path.stem!r} of the page has no end.")
            rows = read_csv(path.read_text(encoding="utf-8"))
            text = before + begin + "\n" + page(rows, orderings(rows)) + "\n" + end + rest.partition(end)[2]
    return text
