"""The README's code runs, and the pages' tables are the committed results."""

import re

import jax
import numpy as np
import pytest

from benchmarks.paper import readme

TEXTS = [page.read_text() for page in readme.PAGES]
MODEL, EXAMPLE, PROBE = re.findall(r"```python\n(.*?)```", TEXTS[0], re.DOTALL)


def test_model_example_runs():
    scope = {}
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        exec(MODEL, scope)
    assert scope["logits"].shape == (8, 10)
    assert scope["trace"].sweeps.iterate.shape == (1, 8, 2)


def test_primitive_examples_run(capsys):
    scope = {}
    exec(EXAMPLE, scope)
    w, x, f = (scope[name] for name in ("w", "x", "f"))
    z = np.zeros_like(x)
    for _ in range(100):
        z = f(z, w, x)
    np.testing.assert_allclose(scope["value"], np.sum(z**2), rtol=1e-4)
    assert np.all(np.isfinite(scope["gradient"]))
    exec(PROBE, scope)
    np.testing.assert_array_equal(scope["backward"].status, 0)
    assert np.all(scope["backward"].steps > 5) and np.all(scope["backward"].residual <= 1e-5)
    np.testing.assert_allclose(scope["gradient"], jax.grad(lambda w: scope["loss"](w, None))(w))
    assert capsys.readouterr().out


def test_tables_are_written_from_the_results():
    assert readme.insert(TEXTS, readme.render()) == TEXTS


def test_configs_tell_the_results():
    sources = readme.configs()
    assert {path.stem for path in sources} >= {"digits", "scales", "mazes"}
    for path, source in sources.items():
        assert path.read_text() == source, path.name
    with pytest.raises(ValueError, match="expected one paragraph 'Measured …', found 0"):
        readme.retold('"""A config."""', "Measured: much.")


def test_a_part_has_one_place():
    page = "<!-- a: by a command -->\nold\n<!-- end -->"
    assert readme.insert(["", page], {"a": "new"}) == ["", page.replace("old", "new")]
    with pytest.raises(ValueError, match="'a': expected one marker in the pages, found 2"):
        readme.insert([page, page], {"a": "new"})
    with pytest.raises(ValueError, match="'b': expected one marker in the pages, found 0"):
        readme.insert(["", page], {"b": "new"})


def test_links_lead_to_files():
    for page, text in zip(readme.PAGES, TEXTS, strict=True):
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_baselines_that_were_not_run_are_named(monkeypatch):
    summary = {"test_accuracy": 0.9, "parameters": 1e3}

    def record(router, macs):
        own = summary | {"router": router, "mean_macs": macs}
        return {"config": {"model": {"widths": [8, 8]}}, "runs": [{"summary": own}]}

    family = {
        "digits": record("agent", 2e6),
        **{f"digits_{name}": record("all", 3e6) for name in ("model_2", "unrolled", "resnet20")},
        "digits_model_0": record("none", 1e6),
        "digits_wide_9x": record("none", 9e6),
        "digits_deep_1.9x": record("none", 1.9e6),
    }
    known = {"digits": family, "cifar10": {}}
    monkeypatch.setattr(readme.committed, "family", lambda config: dict(known[config]))
    monkeypatch.setattr(readme.committed, "newest", lambda name: None)
    table, _, said = readme._static("digits").rpartition("\n\n")
    assert len(table.splitlines()) == 2 + len(family)
    assert said == (
        "Not run: `model_1`, `wide_parameters`, `deep_parameters`, `deq_anderson`, "
        "`deq_broyden`, `no_warmup`, wide nets of as many MACs."
    )
    assert readme._static("cifar10") == "Not run."
