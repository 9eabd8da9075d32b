"""`python -m benchmarks.paper.readme`: writes into pages and configs what the results say."""

from collections.abc import Sequence
import functools
from pathlib import Path
import re
import textwrap
from types import ModuleType

from benchmarks import backward, fixed_point
from benchmarks import routed_pass as routers
from benchmarks import train_step as training
from benchmarks.paper import committed
from benchmarks.paper import results as runs
from benchmarks.support import timing
from configs import _variants
from train.analysis import seeds

HERE = Path(__file__).parent.parent
# The project's, and the results in full.
PAGES = (HERE.parent / "README.md", HERE / "README.md")
# Parts of them, and the tables that they are.
_TABLES = {
    "halting": "Halting routers at the agent's cost",
    "calibrated": "Calibrated: the cheapest setting that keeps an error bound",
    "certificate": "The price of the certificate",
    "solves": "Solves from random starts, and their gradients",
    "thinking": "Where the thinking goes",
    "corrupted": "Corrupted images, by severity",
    "noise": "Images of nothing: uniform noise",
    "ece": "ECE by action",
    "judged": "What another model finds hard",
}
# Configs beside their variants, and those whose training steps are timed.
_COMPARED = ("digits", "scales", "mazes", "cifar10_small")
_TIMED = ("cifar10_small", "digits", "scales")
# Configs evaluated on larger data than in training, and the field that makes them larger.
_LARGER = {"connectivity": "grid", "scales": "grid", "mazes": "side"}


def render() -> dict[str, str]:
    """Name of each generated part of the pages, and its text."""
    solved, gradients = committed.read("fixed_point"), committed.read("backward")
    trained = {name: committed.record(name) for name in runs.SHOWN}
    matched = {name: [*_matched(name).values()] for name in runs.SHOWN}
    shown = [row for row in gradients["rows"] if row["steps"] in (10, 50, 200)]
    steps = {name: committed.newest(f"training_{name}") for name in _TIMED}
    passes = {name: committed.newest(f"routers_{name}") for name in _TIMED}
    return {
        "runs": f"{runs.table(trained, matched)}\n\n{_trained_on(trained)}",
        "routes": runs.routes_table(trained),
        **{name: committed.table(title) for name, title in _TABLES.items()},
        **{f"static_{name}": _static(name) for name in _COMPARED},
        **{f"larger_{name}": runs.larger_table(_nets(name), by) for name, by in _LARGER.items()},
        "ledger": _verdicts(("small", "medium")),
        **{f"training_{name}": _timed(training, record) for name, record in steps.items()},
        "saved": routers.saved({name: record for name, record in passes.items() if record}),
        "routers": _timed(routers, passes["scales"]),
        "harness": _overhead(committed.read("harness_digits")),
        "peers": f"{provenance(solved)}\n\n{fixed_point.summary(solved['results'])}",
        "fixed_point": f"{provenance(solved)}\n\n{fixed_point.table(solved['results'])}",
        "backward": f"{provenance(gradients)}\n\n{backward.table(shown)}",
    }


def measured(name: str) -> str:
    """What a config reached, the paragraph of its docstring that starts with "Measured"."""
    scale = committed.scales(name)[0]
    summaries = [run["summary"] for run in committed.read(f"{scale}/{name}")["runs"]]
    accuracy = lambda key: f"{seeds.mean(summaries, f'{key}_accuracy')} %"
    plain = functools.partial(runs.plain, summaries)
    numbers = ", ".join(str(summary["seed"]) for summary in summaries)
    minutes = plain("train_seconds", ".0f", 1 / 60)
    text = (
        f"Measured on {plain('test_examples', ',.0f')} test examples with seed"
        f"{'s' if len(summaries) > 1 else ''} {numbers}, trained in "
        f"{minutes} minute{'s' if minutes != '1' else ''} on half of 2 CPU cores, beside other "
        f"work: agent {accuracy('test')} at a cost of {plain('mean_cost', '.2f')} straight "
        f"passes, at which random routing has {accuracy('random')} and a threshold on confidence "
        f"{accuracy('confidence')}; straight pass {accuracy('straight')}, all layers "
        f"{accuracy('all_layers')} at a cost of {plain('all_layers_cost', '.2f')}. More in "
        f"benchmarks/results/{scale}/{name}.json."
    )
    # What belongs together stays on one line: a no-break space is no place to wrap at.
    joined = text.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")
    joined = joined.replace(" %", "\N{NO-BREAK SPACE}%")
    filled = textwrap.fill(joined, 100, break_long_words=False, break_on_hyphens=False)
    return filled.replace("\N{NO-BREAK SPACE}", " ")


def retold(source: str, paragraph: str) -> str:
    """A config's source with this paragraph in place of that which starts with "Measured".

    Raises:
        ValueError: it has not exactly one.
    """
    parts = re.compile(r"^Measured\b.*?(?=\n\n|\n\"\"\")", re.MULTILINE | re.DOTALL)
    source, found = parts.subn(lambda _: paragraph, source)
    if found != 1:
        raise ValueError(f"docstring: expected one paragraph 'Measured …', found {found}.")
    return source


def configs() -> dict[Path, str]:
    """Configs that were run, each with its source as the results would have it."""
    out = {}
    for name in runs.SHOWN:
        if committed.record(name):
            path = HERE.parent / "configs" / f"{name}.py"
            out[path] = retold(path.read_text(), measured(name))
    return out


def _nets(config: str) -> dict[str, dict]:
    """A config and its variants that iterate nothing."""
    static = lambda record: record["runs"][0]["summary"]["router"] == "none"
    family = committed.family(config).items()
    return {name: record for name, record in family if name == config or static(record)}


def _matched(config: str) -> dict[str, dict]:
    """Static nets with as many MACs as its agent has, by name."""
    summaries = lambda record: [run["summary"] for run in record["runs"]]
    nets = _nets(config)
    own = nets.pop(config, None)
    alike = lambda net: seeds.as_many_macs(summaries(own), summaries(net))
    return {name: net for name, net in nets.items() if own and alike(net)}


def _static(config: str) -> str:
    """A config's variants beside it, with the times of those that were timed."""
    timed = committed.newest(f"routers_{config}") or {"rows": ()}
    # The straight pass alone is the plain CNN.
    known = {"agent": config, routers.STRAIGHT: f"{config}_model_0"}
    named = lambda router: known.get(router, f"{config}_{router}")
    times = {named(row["router"]): row["median_ms"] for row in timed["rows"]}
    family = committed.family(config)
    if config not in family:
        return "Not run."
    layers = len(family[config]["config"]["model"]["widths"])
    models = (f"model_{first}" for first in range(layers + 1))
    matched = "wide_parameters", "deep_parameters"
    expected = (*models, *matched, *_variants.BASELINES, "no_warmup")
    missing = [f"`{name}`" for name in expected if f"{config}_{name}" not in family]
    alike = {name.removeprefix(f"{config}_").partition("_")[0] for name in _matched(config)}
    missing += [f"{net} nets of as many MACs" for net in ("wide", "deep") if net not in alike]
    not_run = f"\n\nNot run: {', '.join(missing)}." if missing else ""
    return f"{runs.static_table(family, times)}{not_run}"


def _verdicts(scales: Sequence[str]) -> str:
    """The claims of the first scale's ledger, and whether they hold, by scale.

    Ledgers that were written before lack what has been asked since.
    """
    ledgers = {scale: committed.read(f"{scale}/ledger") or () for scale in scales}
    found = {
        scale: {claim["claim"]: claim["verdict"].removeprefix("holds in ") for claim in claims}
        for scale, claims in ledgers.items()
    }
    rows = [
        [claim, *(verdicts.get(claim, "—") for verdicts in found.values())]
        for claim in found[scales[0]]
    ]
    return timing.markdown(rows, ["claim", *(f"holds in: {scale}" for scale in scales)])


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


def insert(pages: Sequence[str], parts: dict[str, str]) -> list[str]:
    """Replaces what stands between the markers of each part.

    Raises:
        ValueError: a part has not exactly one place in all the pages.
    """
    pages = list(pages)
    for name, part in parts.items():
        pattern = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end -->)", re.DOTALL)
        put = lambda m, part=part: f"{m[1]}{part}\n{m[2]}"
        pages, found = zip(*(pattern.subn(put, page) for page in pages), strict=True)
        if sum(found) != 1:
            raise ValueError(f"{name!r}: expected one marker in the pages, found {sum(found)}.")
    return list(pages)


if __name__ == "__main__":
    written = insert([page.read_text() for page in PAGES], render())
    for page, text in zip(PAGES, written, strict=True):
        page.write_text(text)
    for path, source in configs().items():
        path.write_text(source)
