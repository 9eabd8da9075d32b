"""The pages' tables are the committed results."""

import pytest

from benchmarks.paper import readme

TEXTS = [page.read_text() for page in readme.PAGES]


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
