"""The Python code in the README and in the docs runs, and links lead to files."""

import importlib
import importlib.util
from pathlib import Path
import re
import textwrap

import jax
import numpy as np
import pytest
from small_models import saved

from configs import _base, _variants
from dynalay_jax.predict import folder
from train.studies.__main__ import questions

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {str(page.relative_to(ROOT)): page.read_text() for page in PAGES}
# A block that must not run has a comment above it.
BLOCK = re.compile(r"(<!-- not run -->\n)?^( *)```python[^\n]*\n(.*?)^ *```$", re.DOTALL | re.M)
PAIR = re.compile(r'<div class="pair" markdown>(.*?)</div>', re.DOTALL)
PEERS = ("jaxopt", "optimistix")


@pytest.fixture(autouse=True)
def as_users_have_it():
    """JAX's own defaults, where the tests are stricter."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def blocks(text):
    return [textwrap.dedent(code) for skip, _, code in BLOCK.findall(text) if not skip]


def missing(code):
    return [peer for peer in PEERS if peer in code and importlib.util.find_spec(peer) is None]


@pytest.mark.parametrize("page", [page for page in TEXTS if blocks(PAIR.sub("", TEXTS[page]))])
def test_code_runs(page):
    scope = {}
    for code in blocks(PAIR.sub("", TEXTS[page])):
        exec(compile(code, page, "exec"), scope)


@pytest.mark.parametrize("page", ["README.md", "docs/predict.md"])
def test_code_with_a_trained_model_runs(page, tmp_path, monkeypatch):
    folder.write(tmp_path / "workdir/digits/model", saved((8, 8, 1), zeros=True))
    monkeypatch.chdir(tmp_path)
    images = np.full((3, 8, 8, 1), 99, np.uint8)
    scope = {"images": images, "camera": lambda: images}
    for skip, _, code in BLOCK.findall(TEXTS[page]):
        if skip and "predictor" in code.lower():
            exec(compile(textwrap.dedent(code), page, "exec"), scope)
    assert len(scope["prediction"].names) == 3


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_to_files(page):
    for link in re.findall(r"\]\(([^)#:]+)\)", TEXTS[page]):
        assert (ROOT / page).parent.joinpath(link).exists(), link


@pytest.mark.parametrize("page", [page for page in TEXTS if page != "CHANGELOG.md"])
def test_commands_and_files_exist(page):
    for module in re.findall(r"python -m ((?:train|benchmarks)[\w.]*)", TEXTS[page]):
        assert importlib.util.find_spec(module), module
    for config in re.findall(r"configs/\w+\.py", TEXTS[page]):
        assert config == "configs/NAME.py" or (ROOT / config).exists(), config
    if page == "CONTRIBUTING.md":
        for path in re.findall(r"`([\w/.]+/[\w.]*)`", TEXTS[page]):
            assert (ROOT / path).exists(), path


def test_all_configs_variants_and_studies_are_shown():
    configs = {path.name for path in (ROOT / "configs").glob("[!_]*.py")}
    assert not [name for name in configs if f"`{name}`" not in TEXTS["docs/train.md"]]
    variants = [name for name in _variants.described(_base.base()) if name != "model_3"]
    assert not [name for name in variants if f"`{name}`" not in TEXTS["docs/train.md"]]
    commands = [command.split()[0] for command in questions()]
    assert not [command for command in commands if f"{command} " not in TEXTS["docs/studies.md"]]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("number", range(5))
def test_pairs_give_the_same_numbers(number):
    page = "docs/coming_from.md"
    pairs = [pair for pair in map(blocks, PAIR.findall(TEXTS[page])) if pair]
    assert len(pairs) == 5
    theirs, ours = pairs[number]
    if missing(theirs):
        pytest.skip(f"needs {missing(theirs)[0]}")
    start = {}
    exec(blocks(PAIR.sub("", TEXTS[page]))[0], start)
    results = []
    for code in (theirs, ours):
        scope = dict(start)
        exec(compile(code, page, "exec"), scope)
        results.append((scope["value"], scope["gradient"]))
    for a, b in zip(*results, strict=True):
        assert np.linalg.norm(a) > 0.1
        assert np.linalg.norm(a - b) < 1e-4 * np.linalg.norm(a)


@pytest.mark.parametrize(
    "page, package", [("index", ""), ("layers", ".layers"), ("adaptive", ".adaptive")]
)
def test_api_pages_show_what_a_user_may_import(page, package):
    path = f"dynalay_jax{package}"
    shown = re.findall(rf"^::: {re.escape(path)}\.(\w+)$", TEXTS[f"docs/api/{page}.md"], re.M)
    assert sorted(shown) == sorted(importlib.import_module(path).__all__)
