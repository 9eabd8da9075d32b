"""Reports of the same parameters are evaluated once."""

from train import evaluate


def test_reports_are_evaluated_once():
    evaluated = []
    report = evaluate.reports(lambda *what: evaluated.append(what), "params", 0.1)
    report("test")
    report("test", "agent")
    report("test", "agent", 0.1)
    report("test", "none")
    assert evaluated == [("params", "test", "agent", 0.1), ("params", "test", "none", 0.1)]
