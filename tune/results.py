"""What a sweep found: `python -m tune.results SWEEP show|best|importance|report|narrow`."""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from eigen2.config import dump_config
from eigen2.config.trust import WITHHELD, withhold
from eigen2.errors import ConfigError, Eigen2Error, RunError
from eigen2.files import write_atomically
from eigen2.tracking.progress import duration
from tune.findings import Findings, best_config, importances, shown
from tune.folder import SweepFolder
from tune.narrow import narrow
from tune.pareto import pareto_table
from tune.records import Record
from tune.report import page_of
from tune.table import STYLES
from tune.wandb_import import import_sweep
from tune.yaml_lines import unknown

FULL = Path("configs/full.yaml")
WIDEST = 10_000  # characters of a table


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns 0 when it is done, 1 when it failed, 2 for bad usage."""
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        command, folder = _asked(args)
        COMMANDS[command](Findings.of(folder), args, Console())
    except Eigen2Error as error:
        sys.stderr.write(f"tune.results: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("tune.results: stopped\n")
        return 1
    return 0


def _asked(args: argparse.Namespace) -> tuple[str, SweepFolder]:
    command = args.words[-1]
    if command not in COMMANDS:
        raise unknown(command, list(COMMANDS), "tune.results", "command")
    if args.wandb and len(args.words) == 1:
        return command, import_sweep(args.wandb)
    if args.wandb or len(args.words) != 2:
        raise ConfigError("write a sweep and a command: tune.results SWEEP show, or --wandb ENTITY/PROJECT/SWEEP show")
    return command, SweepFolder.open(args.words[0])


def _show(findings: Findings, args: argparse.Namespace, console: Console) -> None:
    names = ["trial", "state", "generation", findings.plan.metric.name]
    names += [parameter.name for parameter in findings.parameters]
    table = Table(*names, "time", "reason", header_style="bold")
    for record in _sorted(findings, args.sort, args.reverse):
        table.add_row(*_cells(findings, record))
    _print_wide(console, table)
    if len(findings.plan.objectives) > 1:
        _print_wide(console, pareto_table(findings.records, findings.plan.objectives))


def _cells(findings: Findings, record: Record) -> list[str | Text]:
    return [
        Text(record.trial),
        Text(record.state, STYLES[record.state]),
        str(record.generation),
        "-" if record.best is None else shown(record.best),
        *(Text(shown(record.values[parameter.field])) for parameter in findings.parameters),
        duration(record.seconds),
        Text(record.reason or ""),
    ]


def _sorted(findings: Findings, by: str | None, reverse: bool) -> list[Record]:
    """By the metric, the best first, or by a column; trials without a value come last."""
    if by in (None, findings.plan.metric.name):
        ranked = list(findings.ranked)
        rest = [record for record in findings.records if record not in ranked]
        return (ranked[::-1] if reverse else ranked) + rest
    keys: dict[str, Callable[[Record], object]] = {
        "trial": lambda record: record.number,
        "state": lambda record: record.state,
        "generation": lambda record: record.generation,
        "time": lambda record: record.seconds,
        "reason": lambda record: record.reason or "",
    }
    fields = {parameter.name: parameter.field for parameter in findings.parameters}
    if by in fields:
        values = [record.values[fields[by]] for record in findings.records]
        plain = all(isinstance(value, int | float) for value in values)
        keys[by] = lambda record: record.values[fields[by]] if plain else str(record.values[fields[by]])
    if by not in keys:
        raise unknown(by, [*keys, *fields, findings.plan.metric.name], "--sort", "column")
    return sorted(findings.records, key=keys[by], reverse=reverse)  # type: ignore[arg-type]


def _best(findings: Findings, args: argparse.Namespace, console: Console) -> None:
    best = findings.best
    _say(console, f"{best.trial}: {findings.plan.metric.name} {shown(best.best)} after {best.generation} generations")
    for parameter in findings.parameters:
        _say(console, f"  {parameter.name}: {shown(best.values[parameter.field])}")
    if best.run:
        _say(console, f"its run: {best.run}")
    if args.apply is None:
        _say(console, f"a config of it: python -m tune.results {findings.folder.path} best --apply configs/best.yaml")
        return
    config = best_config(findings, args.sizes)
    if best.values.keys() & WITHHELD.keys():  # anybody may have written the records of trials
        config, withheld = withhold(config)
        for field in withheld:
            _say(console, f"note: left out {field}, which {WITHHELD[field]}: set it yourself if the sweep is your own")
    head = f"# The best trial of sweep {findings.folder.name} ({best.trial}), with the sizes of {args.sizes}.\n"
    _write(args.apply, head + dump_config(config))
    _say(console, f"{args.apply}: the sizes of {args.sizes}, the parameters of {best.trial}")
    _say(console, f"train it: eigen2 train {args.apply}")


def _importance(findings: Findings, args: argparse.Namespace, console: Console) -> None:
    found = importances(findings)
    table = Table("parameter", "share", "in the best", "correlation", header_style="bold")
    for one in found:
        top = "-" if one.top_share is None else f"{one.top_share:.3f}"
        correlation = "-" if one.correlation is None else f"{one.correlation:+.2f}"
        table.add_row(one.parameter.name, f"{one.share:.3f}", top, correlation)
    _print_wide(console, table)
    _say(console, f"share: of the variance of {findings.plan.metric.name} over {len(findings.ranked)} trials (fANOVA)")
    _say(console, "in the best: how much it tells the best tenth from the others (PED-ANOVA; from 50 trials on)")


def _report(findings: Findings, args: argparse.Namespace, console: Console) -> None:
    path = args.out or findings.folder.path / "report.html"
    _write(path, page_of(findings))
    _say(console, str(path))


def _narrow(findings: Findings, args: argparse.Namespace, console: Console) -> None:
    narrowed = narrow(findings, args.top)
    path = args.out or findings.folder.path / "narrow.yaml"
    _write(path, narrowed.text)
    for title, told in (("fixed", narrowed.fixed), ("tightened", narrowed.tightened)):
        _say(console, f"{title}:{'' if told else ' none'}")
        for one in told:
            _say(console, f"  {one}")
    _say(console, f"{path}: start it with python -m tune.sweep {path}")


COMMANDS: dict[str, Callable[[Findings, argparse.Namespace, Console], None]] = {
    "show": _show,
    "best": _best,
    "importance": _importance,
    "report": _report,
    "narrow": _narrow,
}


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _print_wide(console: Console, table: Table) -> None:
    """A table in full width, on a narrow terminal too: a cut number is no number."""
    width = max(console.width, console.measure(table, options=console.options.update_width(WIDEST)).maximum)
    Console(file=console.file, width=width, force_terminal=console.is_terminal).print(table)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    except OSError as error:
        raise RunError(f"{path}: can't be written: {error.strerror}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tune.results",
        usage="python -m tune.results SWEEP COMMAND [options]",
        description="What a sweep found. Commands: " + ", ".join(COMMANDS) + ".",
    )
    add = parser.add_argument
    add("words", nargs="+", metavar="SWEEP COMMAND", help="name or folder of the sweep, and the command")
    add("--wandb", metavar="ENTITY/PROJECT/SWEEP", help="read a sweep of W&B instead, through its API")
    add("--sort", metavar="COLUMN", help="show: by this column; default: the metric, the best first")
    add("--reverse", action="store_true", help="show: the other way round")
    add("--apply", type=Path, metavar="FILE", help="best: write a complete training config")
    add("--sizes", type=Path, default=FULL, metavar="FILE", help=f"best: the config of full runs; default: {FULL}")
    add("--top", type=float, default=0.2, metavar="SHARE", help="narrow: share of the trials that count; default: 0.2")
    add("--out", type=Path, metavar="FILE", help="report, narrow: where to write; default: in the sweep's folder")
    return parser


if __name__ == "__main__":
    sys.exit(main())
