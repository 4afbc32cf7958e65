"""Bring measured tables into ``docs/robustness.md``: ``python docs/robustness_tables.py [RESULTS]``.

Every ``table_*.csv`` of small scale below RESULTS is copied to ``docs/figures/robustness``, and the page's blocks are
written from there. What stands between the blocks is written by hand.
"""

from __future__ import annotations

import sys
from pathlib import Path

from kwta_theory.report import files
from kwta_theory.robustness import table_files

DOCS = Path(__file__).parent


def main(results: Path, docs: Path = DOCS) -> None:
    """Copy, then fill the page."""
    kept = docs / "figures" / "robustness"
    kept.mkdir(parents=True, exist_ok=True)
    for path in sorted(results.glob("table_*/table_*.csv")):
        if not path.stem.endswith(("_orderings", "_paper")):
            files.write_text(kept / path.name, path.read_text(encoding="utf-8"))
    page = docs / "robustness.md"
    files.write_text(page, table_files.filled(page.read_text(encoding="utf-8"), kept))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("results"))
