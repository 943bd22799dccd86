"""`eigen2`, or `python -m eigen2`: the command line."""

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from eigen2 import __version__
from eigen2.errors import Eigen2Error, tells_of_memory
from eigen2.terminal import show_warnings

LESS_MEMORY = "take fewer days or columns of data, lower evolution.population_size, or use a larger machine"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns 0 when it is done, 1 when it failed, 2 for bad usage or a bad config."""
    args = _parser().parse_args(argv)
    show_warnings()
    try:
        # a command's module is imported when it is called: `data check` need not wait for torch
        command = importlib.import_module(f"eigen2.cli.{args.module}")
        code = int(command.run(args))
        sys.stdout.flush()
        return code
    except Eigen2Error as error:
        return _failed(args, str(error), error.exit_code)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains as it exits
        return 1
    except KeyboardInterrupt:
        return _failed(args, "stopped", 1)
    except Exception as error:  # noqa: BLE001 - the last resort: told to the user, with its traceback under --debug
        text = f"{type(error).__name__}: {error}"
        if tells_of_memory(text):
            return _failed(args, f"this machine is out of memory ({text.splitlines()[0]}); {LESS_MEMORY}", 1)
        return _failed(args, f"{text} (run again with --debug for the traceback)", 1)


def _failed(args: argparse.Namespace, message: str, code: int) -> int:
    if args.debug:
        traceback.print_exc()
    sys.stderr.write(f"eigen2: {message}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="eigen2", description="Train a population of trading agents by evolutionary reinforcement learning."
    )
    parser.add_argument("--version", action="version", version=f"eigen2 {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_evaluate(commands)
    report = _add(commands, "report", "report", "write one HTML page about a run, the verdict first")
    report.add_argument("run", metavar="RUN", help="folder of a run")
    _add_foreign(report)
    _add_data_place(report)
    _add_data(commands)
    _add_config(commands)
    _add_cloud(commands)
    doctor = _add(commands, "doctor", "doctor", "check this machine: Python, torch, Ray, disk, memory, W&B, data")
    doctor.add_argument(
        "--data", default=None, metavar="SOURCE", help="market data to check; default: the embedded data"
    )
    doctor.add_argument(
        "--cluster", nargs="?", const="auto", metavar="ADDRESS", help="check a cluster's nodes; default: this one's"
    )
    doctor.add_argument("--runs-dir", metavar="FOLDER", help="folder of runs to check; default: runs")
    return parser


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, module: str, says: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=says, description=says[0].upper() + says[1:] + ".")
    parser.add_argument("--debug", action="store_true", help="show a traceback with an error")
    parser.set_defaults(module=module)
    return parser


def _add_train(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _add(commands, "train", "train", "train a population, or go on with a run")
    parser.add_argument("config", nargs="?", metavar="CONFIG", help="a YAML file, such as configs/quickstart.yaml")
    parser.add_argument(
        "--resume",
        metavar="RUN",
        help="a run to go on with, its folder or storage URI; RUN@GEN: one of its checkpoints",
    )
    parser.add_argument("--name", help="name of the run, a folder under runs_dir; default: date and time")
    _add_set(parser)
    parser.add_argument("--num-cpus", metavar="N", help="CPUs of the local Ray; default: all of this machine")
    parser.add_argument("--storage", metavar="URI", help="keep a copy of the run under file://, s3:// or gs://")
    parser.add_argument("--address", help="a running Ray cluster, `auto` for the one on this machine")
    _add_budget(parser, "; then stop at a checkpoint")
    _add_foreign(parser)


def _add_evaluate(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _add(commands, "evaluate", "evaluate", "give a verdict on a run, or train anew to judge a config")
    parser.add_argument("run", metavar="RUN", help="folder of a run; to train anew, that or a config")
    study = parser.add_mutually_exclusive_group()
    study.add_argument(
        "--walk-forward", type=_count, metavar="N", help="train anew before each of N successive windows of test days"
    )
    study.add_argument("--seeds", type=_count, metavar="N", help="train with N seeds and report the spread")
    _add_set(parser)
    _add_data_place(parser)
    parser.add_argument(
        "--other-data", action="store_true", help="evaluate it on data that are not the run's, apart from its results"
    )
    parser.add_argument("--other-code", action="store_true", help="evaluate it with code that did not make the run")
    _add_foreign(parser)


def _count(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 on")
    return int(text)


def _add_data(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    data = commands.add_parser("data", help="check or fetch market data", description="Check or fetch market data.")
    actions = data.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = _add(actions, "check", "data", "say what a market file holds and what is wrong with it")
    check.add_argument("file", metavar="FILE", help="a file, a folder of files, or `sp20` for the embedded data")
    check.add_argument(
        "--date-format", metavar="FORM", help="form of the file's dates, such as %%d/%%m/%%Y; default: recognised"
    )
    _add_set(check)
    fetch = _add(actions, "fetch", "data", "download daily bars through yfinance")
    fetch.add_argument("--tickers", nargs="+", required=True, metavar="TICKER", help="symbols; ^GSPC is the S&P 500")
    fetch.add_argument("--start", required=True, metavar="YYYY-MM-DD", help="first day")
    fetch.add_argument("--end", default=None, metavar="YYYY-MM-DD", help="day after the last; default: today")
    fetch.add_argument("--out", default="market.csv", metavar="FILE", help="CSV to write; default: market.csv")


def _add_config(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    config = commands.add_parser("config", help="show a config", description="Show a config.")
    actions = config.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = _add(actions, "show", "config", "print every field with its value, unit and range")
    show.add_argument("config", nargs="?", metavar="CONFIG", help="a YAML file; default: the defaults")
    _add_set(show)


def _add_cloud(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    cloud = commands.add_parser("cloud", help="rented pods and runs on them", description="Rented pods, runs on them.")
    actions = cloud.add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = _add(actions, "list", "cloud", "list the pods that you have rented with eigen2, with age and cost")
    listed.add_argument("--all", action="store_true", help="also those of the account's other owners")
    sweep_up = _add(actions, "sweep-up", "cloud", "end the pods that you have rented with eigen2, after asking")
    sweep_up.add_argument("name", nargs="?", metavar="CLUSTER", help="only this cluster's; default: all of yours")
    sweep_up.add_argument("--owner", metavar="OWNER", help="another owner's, as `list --all` names them")
    sweep_up.add_argument("--yes", action="store_true", help="do not ask")
    submit = _add(actions, "submit", "cloud", "run a command on the cluster, as a job that outlives this machine")
    submit.add_argument("--no-wait", action="store_true", help="do not show what it prints")
    _add_budget(submit, "; then stop at a checkpoint and take the cluster down")
    jobs = _add(actions, "jobs", "cloud", "list the cluster's jobs")
    logs = _add(actions, "logs", "cloud", "show what a job prints, from its beginning until it ends")
    stop = _add(actions, "stop", "cloud", "end a job; its last checkpoint stands")
    for parser in (logs, stop):
        parser.add_argument("job", metavar="JOB", help="its id")
    pull = _add(actions, "pull", "cloud", "bring a run's folder home, or a sweep's")
    pull.add_argument("run", metavar="RUN", help="its name")
    pull.add_argument("--sweep", action="store_true", help="it is a sweep")
    dashboard = _add(actions, "dashboard", "cloud", "open a tunnel to the cluster's dashboards")
    dashboard.add_argument("--port", type=int, default=8265, help="of this machine; default: 8265")
    for parser in (submit, jobs, logs, stop, pull, dashboard):
        parser.add_argument("--cluster", default="cluster.yaml", metavar="FILE", help="default: cluster.yaml")
    submit.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="such as: -- train CONFIG")


def _add_budget(parser: argparse.ArgumentParser, then: str) -> None:
    parser.add_argument("--max-cost", type=float, metavar="USD", help=f"what the cluster may cost{then}")
    parser.add_argument("--max-hours", type=float, metavar="H", help=f"how long the run may take{then}")


def _add_foreign(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trust", action="store_true", help="RUN is your own: obey its pickle, cluster, storage and W&B account"
    )


def _add_data_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="FILE", help="where the run's market data lie now; default: where they lay")


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="override a field; may be given often"
    )


if __name__ == "__main__":
    sys.exit(main())
