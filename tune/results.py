"""What a sweep found: `python -m tune.results SWEEP show|best|importance|report|narrow`."""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from eigen2.config import dump_config
from eigen2.config.trust import WITHHELD, withhold
from eigen2.errors import ConfigError, Eigen2Error, RunError, printable, printable_lines
from eigen2.files import write_atomically
from eigen2.tracking.progress import duration
from tune import CONFIGS
from tune.findings import Findings, best_config, fields_left_out, importances, shown
from tune.folder import SweepFolder
from tune.narrow import narrow, second_phase
from tune.pareto import pareto_table
from tune.records import Record
from tune.report import page_of
from tune.table import STYLES, header_of, reasons
from tune.wandb_import import import_sweep
from tune.yaml_lines import unknown

FULL = CONFIGS / "full.yaml"
WIDEST = 10_000  # characters of a table
BETWEEN_COLUMNS = 3


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
        raise unknown(command, list(COMMANDS), "", "command")
    if args.wandb and len(args.words) == 1:
        return command, import_sweep(args.wandb)
    if args.wandb or len(args.words) != 2:
        raise ConfigError("write a sweep and a command: tune.results SWEEP show, or --wandb ENTITY/PROJECT/SWEEP show")
    return command, SweepFolder.open(args.words[0])


def _show(findings: Findings, args: argparse.Namespace, console: Console) -> None:
    records = _sorted(findings, args.sort, args.reverse)
    trials, *columns = _columns(findings, records)
    for table in _tables(trials, columns, console.width):
        _print_wide(console, table)
    for reason in reasons(records):
        _say(console, reason)
    if len(findings.plan.objectives) > 1:
        _print_wide(console, pareto_table(findings.records, findings.plan.objectives))


@dataclass(frozen=True)
class Column:
    """A column of a table of trials: its header, on one line or several, and a cell a trial."""

    header: str
    cells: tuple[Text, ...]

    @property
    def width(self) -> int:
        """Characters, with the border and the space to the next one."""
        return max(len(line) for line in (*self.header.split("\n"), *map(str, self.cells))) + BETWEEN_COLUMNS


def _columns(findings: Findings, records: Sequence[Record]) -> list[Column]:
    def column(name: str, cell: Callable[[Record], str]) -> Column:
        return Column(header_of(name), tuple(Text(printable(cell(record))) for record in records))

    states = Column("state", tuple(Text(record.state, STYLES[record.state]) for record in records))
    return [
        column("trial", lambda record: record.trial),
        states,
        column("generation", lambda record: str(record.generation)),
        column(findings.plan.metric.name, lambda record: "-" if record.best is None else shown(record.best)),
        column("time", lambda record: duration(record.seconds)),
        *(
            column(parameter.name, lambda record, field=parameter.field: shown(record.values[field]))  # type: ignore[misc]
            for parameter in findings.parameters
        ),
    ]


def _tables(trials: Column, columns: Sequence[Column], width: int) -> list[Table]:
    """Tables no wider than `width`, one below the other: each has the trials and as many of the columns as fit."""
    groups: list[list[Column]] = [[]]
    for column in columns:
        if groups[-1] and sum(one.width for one in (trials, *groups[-1], column)) >= width:
            groups.append([])
        groups[-1].append(column)
    tables = []
    for group in groups:
        table = Table(trials.header, *(column.header for column in group), header_style="bold")
        for cells in zip(trials.cells, *(column.cells for column in group), strict=True):
            table.add_row(*cells)
        tables.append(table)
    return tables


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
    name = printable(best.trial)
    _say(console, f"{name}: {findings.plan.metric.name} {shown(best.best)} after {best.generation} generations")
    for parameter in findings.parameters:
        _say(console, f"  {parameter.name}: {shown(best.values[parameter.field])}")
    if best.run:
        _say(console, f"its run: {printable(best.run)}")
    if args.apply is None:
        _say(console, f"a config of it: python -m tune.results {findings.folder.path} best --apply configs/best.yaml")
        return
    config = best_config(findings, args.sizes)
    for field in fields_left_out(findings):
        _say(console, f"note: left out {field} of the trial's record, which the sweep neither varies nor holds fixed")
    if best.values.keys() & WITHHELD.keys():  # anybody may have written the records of trials
        config, withheld = withhold(config)
        for field in withheld:
            _say(console, f"note: left out {field}, which {WITHHELD[field]}: set it yourself if the sweep is your own")
    head = f"# The best trial of sweep {findings.folder.name} ({name}), with the sizes of {args.sizes}.\n"
    _write(args.apply, head + dump_config(config))
    _say(console, f"{args.apply}: the sizes of {args.sizes}, the parameters of {name}")
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
    for field in narrowed.left_out:
        _say(console, f"note: left out {field}, which {WITHHELD[field]}: set it yourself if the sweep is your own")
    _say(console, f"{path}: start it with {second_phase(findings, path)}")


COMMANDS: dict[str, Callable[[Findings, argparse.Namespace, Console], None]] = {
    "show": _show,
    "best": _best,
    "importance": _importance,
    "report": _report,
    "narrow": _narrow,
}


def _say(console: Console, text: str) -> None:
    console.print(printable_lines(text), markup=False, highlight=False, soft_wrap=True)


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
