"""Pages, configs and report say what the committed results say."""

import re

import pytest

from benchmarks.paper import readme

SHOWN = readme.PAGES[1].parent


def test_files_are_written_from_the_results():
    written = readme.texts()
    assert len(written) == 2 + 9 + 1
    for path, text in written.items():
        assert path.read_text() == text, f"{path.name}: run python -m benchmarks.paper.readme"


def test_committed_results_are_small():
    folders = (readme.results.timing.RESULTS, readme.IMAGES)
    size = sum(path.stat().st_size for folder in folders for path in folder.iterdir())
    assert size + (SHOWN / "report.html").stat().st_size < 4e6


def test_pictures_are_there_and_shown():
    pages = [
        path.read_text() for path in (*readme.PAGES, *SHOWN.glob("*.md"), SHOWN / "report.html")
    ]
    shown = {name for page in pages for name in re.findall(r"images/([\w.]+)", page)}
    assert shown == {path.name for path in readme.IMAGES.iterdir()}


def test_a_marker_is_replaced_and_an_unknown_one_refused():
    page = "a\n<!-- a: by a command -->\nold\n<!-- end -->\nb"
    assert readme.insert(page, {"a": "new", "b": ""}) == page.replace("old", "new")
    with pytest.raises(ValueError, match="marker 'a': expected one of b, c"):
        readme.insert(page, {"b": "", "c": ""})


def test_a_docstring_has_one_paragraph_of_results():
    source = '"""A config.\n\nMeasured once.\nMore.\n"""'
    assert readme.with_measured(source, "Measured twice.") == '"""A config.\n\nMeasured twice.\n"""'
    with pytest.raises(ValueError, match="expected one paragraph 'Measured …', found 0"):
        readme.with_measured('"""A config."""', "Measured: much.")
