"""`python -m tune.agent`: one run for `wandb agent`, with the values that the sweep gives it.

Without a sweep it is one run with the middle values of a sweep file: the way to see by hand that runs work.
"""

import argparse
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Thread
from types import FrameType

import ray
from rich.console import Console

from eigen2.config import Config
from eigen2.config.trust import load_named_config
from eigen2.errors import Eigen2Error
from eigen2.terminal import show_warnings
from eigen2.tracking.expression import check
from eigen2.tracking.jsonl import read_rows
from eigen2.tracking.sink import Row
from eigen2.tracking.wandb_sink import WandbSink
from eigen2.training.cluster import connect
from eigen2.training.metrics import NUMBERS
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import RayRuntime
from eigen2.training.session import fit_to_cluster
from tune import CONFIGS
from tune.population import Population, open_or_create
from tune.space import config_of, values_of
from tune.sweep_file import SweepFile

DEFAULT_FILE, DEFAULT_BASE = CONFIGS / "sweep_config.yaml", CONFIGS / "quickstart.yaml"
SWEEP_ID = "WANDB_SWEEP_ID"  # set by `wandb agent`
AGENT_POLL_S = 1.0


class Agent:
    """The `wandb agent` that began this process, if one did.

    It puts each run into a process group of its own, so a signal that ends the agent never reaches the run.
    """

    def __init__(self, sweep_id: str | None) -> None:
        self._pid = os.getppid() if sweep_id else None

    @property
    def ended(self) -> bool:
        """Whether the agent is gone, so nobody but its end can have stopped this run."""
        return self._pid is not None and os.getppid() != self._pid

    def watch(self) -> None:
        """End this process, as by SIGTERM, when the agent has ended."""
        if self._pid is not None:
            Thread(target=self._end_with_agent, daemon=True).start()

    def _end_with_agent(self) -> None:
        while not self.ended:
            time.sleep(AGENT_POLL_S)
        os.kill(os.getpid(), signal.SIGTERM)


def main(argv: Sequence[str] | None = None) -> int:
    """Train one run; returns 0 when it is done or was stopped, 1 when it failed or was interrupted, 2 for bad usage."""
    # a command with ${args} gives the values once more: they come with the run
    args, _ = _parser().parse_known_args(argv)
    show_warnings()
    _on_signals(_stop)
    agent = Agent(os.environ.get(SWEEP_ID))
    agent.watch()
    try:
        return _run(args, agent)
    except KeyboardInterrupt:
        return 1 if agent.ended else 0
    except Eigen2Error as error:
        if args.debug:
            traceback.print_exc()
        sys.stderr.write(f"tune.agent: {error}\n")
        return error.exit_code
    finally:
        ray.shutdown()


def _run(args: argparse.Namespace, agent: Agent) -> int:
    base = load_named_config(args.config, args.set)
    sweep_id = os.environ.get(SWEEP_ID)
    config, folder, sink = _swept(base, sweep_id) if sweep_id else _by_hand(base, args.sweep_file)
    _train(config, folder, sink, agent)
    return 0


def _swept(base: Config, sweep_id: str) -> tuple[Config, RunFolder, WandbSink]:
    """The run that an agent was given, with its values; it goes on where an interrupted attempt left it."""
    sink = WandbSink.of_agent(Path(base.run.runs_dir), base.tracking)
    try:
        config = _named(config_of(base, values_of(sink.parameters)), f"{sweep_id}-{sink.id}")
        folder, config = open_or_create(config, sink.id)
    except Eigen2Error:
        sink.finish({}, None)
        raise
    sink.describe(config.model_dump(mode="json"))
    if folder.metrics.exists():
        sink.catch_up(read_rows(folder.metrics))
    return config, folder, sink


def _by_hand(base: Config, sweep_file: Path) -> tuple[Config, RunFolder, WandbSink | None]:
    """A run with the middle values of a sweep file."""
    config = config_of(base, SweepFile.read(sweep_file).space.middle())
    folder = RunFolder.create(_named(config, datetime.now().strftime("agent-%Y%m%d-%H%M%S")))
    dump = config.model_dump(mode="json")
    sink = WandbSink.start(config.tracking, folder.name, folder.path, dump, folder.identity(), resume=False)
    return config, folder, sink


def _train(config: Config, folder: RunFolder, sink: WandbSink | None, agent: Agent) -> None:
    """Train to the end, or until stopped, and end the W&B run accordingly."""
    console = Console(stderr=True)
    done = 0
    try:
        check(config.tracking.combined_score, NUMBERS)
        connect(config.resources)
        _on_signals(_stop)  # Ray has taken SIGTERM for itself
        sinks = {"W&B": sink} if sink else {}
        population = Population(config, folder, RayRuntime(), partial(fit_to_cluster, config), sinks, console)
        while not population.done:
            population.advance()
            done = population.generations
        final = population.finish()
    except KeyboardInterrupt:
        # its last whole generation lies in its checkpoint
        if agent.ended and sink:
            sink.mark_interrupted()
            _finish(sink, {}, None)
            console.print(f"interrupted after generation {done}: the sweep gives the run out again", highlight=False)
        else:  # a run that was stopped has not failed
            _finish(sink, {"stopped_after": done}, None)
            console.print(f"stopped after generation {done}; {folder.path} has its checkpoint", highlight=False)
        raise
    except BaseException:
        _finish(sink, {}, None)
        raise
    _finish(sink, final, folder.champion)
    console.print(f"run folder: {folder.path}", highlight=False)


def _finish(sink: WandbSink | None, summary: Row, champion: Path | None) -> None:
    if sink:
        sink.finish(summary, champion)


def _named(config: Config, name: str) -> Config:
    return config.model_copy(update={"run": config.run.model_copy(update={"name": name})})


def _stop(number: int, frame: FrameType | None) -> None:
    """Leave whatever is going on, once: a second signal must not interrupt the goodbye to W&B."""
    _on_signals(signal.SIG_IGN)
    raise KeyboardInterrupt  # no class of our own: Ray raises this one in its place where it was waiting


def _on_signals(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tune.agent", description="Train one run for `wandb agent`.")
    add = parser.add_argument
    add(
        "--config",
        type=Path,
        default=DEFAULT_BASE,
        help=f"config under the run's values; default: configs/{DEFAULT_BASE.name}",
    )
    add("--sweep-file", type=Path, default=DEFAULT_FILE, help="whose middle values are taken where there is no sweep")
    add("--set", action="append", default=[], metavar="FIELD=VALUE", help="override a field that no sweep gives")
    add("--debug", action="store_true", help="show a traceback with an error")
    return parser


if __name__ == "__main__":
    sys.exit(main())
