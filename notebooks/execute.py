"""Execute the notebooks and keep their outputs: ``python notebooks/execute.py [NOTEBOOK ...]``.

The outputs that are kept depend on the code alone: no execution times, no state of widgets, no identities of widgets.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbmake.nb_run import NotebookRun

HERE = Path(__file__).parent
SECONDS = 120  # for one cell
WIDGET = "application/vnd.jupyter.widget-view+json"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def executed(path: Path) -> NotebookNode:
    """The notebook with new outputs, run from the first cell to the last in a fresh kernel.

    Raises:
        RuntimeError: a cell that fails, with its text and its traceback.
    """
    result = NotebookRun(path, SECONDS).execute()
    if result.error is not None:
        raise RuntimeError(f"{path.name}: {result.error.summary}\n{result.error.trace}")
    return clean(result.nb)


def clean(notebook: NotebookNode) -> NotebookNode:
    """The notebook without anything that changes from run to run."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id, cell.metadata = f"cell-{number:02d}", nbformat.from_dict({})
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop(WIDGET, None)
            if "metadata" in output:
                output.metadata = nbformat.from_dict({})
    return notebook


def main(arguments: list[str]) -> None:
    """Execute in place."""
    for path in [Path(argument) for argument in arguments] or sorted(HERE.glob("*.ipynb")):
        nbformat.write(executed(path), path)
        print(path.name)


if __name__ == "__main__":
    main(sys.argv[1:])
