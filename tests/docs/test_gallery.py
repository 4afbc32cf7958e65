from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def gallery():
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "docs" / "gallery.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_says_what_the_scripts_say(gallery):
    assert (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8") == gallery.page()


def test_every_script_has_a_figure_and_every_figure_a_script(gallery):
    scripts = [path.stem for path in gallery.scripts()]
    shown = [figure for name in scripts for figure in gallery.figures(name)]
    assert all(gallery.figures(name) for name in scripts)
    assert sorted(shown) == sorted((ROOT / "docs" / gallery.FIGURES).glob("*.png"))
