"""Write ``docs/experiments.md``: for each script of ``experiments/`` its docstring and its figures.

Run with ``python docs/gallery.py`` after ``make figures``; a test holds the page to the scripts.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIGURES = "figures/experiments"
HEAD = """# Experiments of the theory

One script for each statement and figure. `python experiments/NAME.py` samples it, writes `NAME.csv` with the exact
values beside the estimates, and draws its figures as PNG and SVG into `results/NAME`; a killed run goes on (that of
`radius_scaling` starts anew). `make experiments` runs them all. Every figure below was drawn by `make figures` at the
quick budget, seed 0; all intervals of one script hold together with probability at least 0.999. This page is written by
`docs/gallery.py`.
"""


def scripts() -> list[Path]:
    """The scripts about the theory; those about networks have pages of their own."""
    names = sorted((ROOT / "experiments").glob("*.py"))
    return [path for path in names if not path.stem.startswith(("table_", "figure_", "density_and_"))]


def page() -> str:
    """The page, from the docstrings and the figures that are there."""
    parts = [HEAD]
    for script in scripts():
        text = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
        title, _, rest = text.partition("\n")
        parts.append(f"\n## `{script.stem}`: {code(title.rstrip('.'))}\n\n{code(rest.strip())}\n")
        parts += [f"\n![{path.stem.replace('_', ' ')}]({FIGURES}/{path.name})\n" for path in figures(script.stem)]
    return "".join(parts)


def code(text: str) -> str:
    """Double back quotes of a docstring as the single ones of Markdown."""
    return text.replace("``", "`")


def figures(name: str) -> list[Path]:
    """The figures of a script: its own name, or beginning with it, and with that of no other script."""
    stems = [script.stem for script in scripts()]
    found = sorted((ROOT / "docs" / FIGURES).glob(f"{name}*.png"))
    owners = {
        path: max((stem for stem in stems if path.stem == stem or path.stem.startswith(f"{stem}_")), key=len)
        for path in found
    }
    return [path for path in found if owners[path] == name]


if __name__ == "__main__":
    (ROOT / "docs" / "experiments.md").write_text(page(), encoding="utf-8")
