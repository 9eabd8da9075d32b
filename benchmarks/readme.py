"""`python -m benchmarks.readme`: writes the README's tables from the committed results."""

import json
from pathlib import Path
import re
from types import ModuleType
from typing import Any

import tabulate

from benchmarks import backward, fixed_point, measure, routers, runs, training

README = Path(__file__).parent.parent / "README.md"


def render() -> dict[str, str]:
    """Name of each generated part of the README, and its text."""
    solved, gradients = _read("fixed_point"), _read("backward")
    trained = {name: _read(f"small/{name}") or _read(f"full/{name}") for name in runs.SHOWN}
    shown = [row for row in gradients["rows"] if row["steps"] in (10, 50, 200)]
    return {
        "runs": f"{runs.table(trained)}\n\n{_trained_on(trained)}",
        "static": _static("digits"),
        "static_scales": _static("scales"),
        "static_mazes": _static("mazes"),
        "larger_mazes": runs.larger_table(_nets("mazes"), "side"),
        "static_cifar10_small": _static("cifar10_small"),
        "ledger": _verdicts(_read("small/ledger") or []),
        "training": _timed(training, _read("small/training_cifar10_small")),
        "routers": _timed(routers, _read("small/routers_scales")),
        "harness": _overhead(_read("harness_digits")),
        "fixed_point": f"{provenance(solved)}\n\n{fixed_point.table(solved['results'])}",
        "backward": f"{provenance(gradients)}\n\n{backward.table(shown)}",
    }


def _family(config: str) -> dict[str, dict]:
    """Records of a config, which comes first, and of its variants."""
    paths = sorted((measure.RESULTS / "small").glob(f"{config}*.json"), key=lambda path: path.stem)
    return {path.stem: json.loads(path.read_text()) for path in paths}


def _nets(config: str) -> dict[str, dict]:
    """A config and its variants that iterate nothing."""
    static = lambda record: record["runs"][0]["summary"]["router"] == "none"
    family = _family(config).items()
    return {name: record for name, record in family if name == config or static(record)}


def _static(config: str) -> str:
    """A config's variants beside it."""
    return runs.static_table(_family(config))


def _verdicts(claims: list[dict]) -> str:
    """The ledger's claims, as far as anything can be said of them, and whether they hold."""
    rows = [
        [claim["claim"], claim["verdict"].removeprefix("holds in ")]
        for claim in claims
        if claim["verdict"].startswith("holds")
    ]
    return tabulate.tabulate(rows, ["claim", "holds in"], tablefmt="github", disable_numparse=True)


def _read(name: str) -> Any:
    path = measure.RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def _timed(benchmark: ModuleType, record: dict | None) -> str:
    return f"{provenance(record)}\n\n{benchmark.table(record)}" if record else "Not run."


def _trained_on(records: dict[str, dict | None]) -> str:
    """Machine and versions, and the commits of the configs that ran there."""
    on: dict[str, list[str]] = {}
    for name, record in records.items():
        if record:
            machine, _, commit = record["ran"].partition(", commit ")
            on.setdefault(machine, []).append(f"`{name}` {commit}")
    return " ".join(f"{machine}; commits: {'; '.join(runs)}." for machine, runs in on.items())


def _overhead(record: dict) -> str:
    """What the harness costs over a bare loop, by phase."""
    phases = ", ".join(
        f"{100 * (phase['ratio'] - 1):.0f} % of {phase['bare']['median_ms']:.1f} ms ({name})"
        for name, phase in record["phases"].items()
    )
    return f"On `{record['config']}`, whose steps are short: {phases}. {provenance(record)}"


def provenance(record: dict) -> str:
    env = record["environment"]
    versions = ", ".join(f"{k} {v}" for k, v in env["versions"].items() if v)
    return (
        f"`{env['command']}`, {env['date']}, {env['device']} ({env['processor']}, {env['cores']} "
        f"cores), commit {env['commit']}, Python {env['python']}, {versions}. "
        "Medians of interleaved runs."
    )


def insert(text: str, parts: dict[str, str]) -> str:
    """Replaces what stands between the markers of each part."""
    for name, part in parts.items():
        pattern = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end -->)", re.DOTALL)
        text, found = pattern.subn(lambda m, part=part: f"{m[1]}{part}\n{m[2]}", text)
        if found != 1:
            raise ValueError(f"README.md: expected one marker for {name!r}, found {found}.")
    return text


if __name__ == "__main__":
    README.write_text(insert(README.read_text(), render()))
