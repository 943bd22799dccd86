"""`eigen2 cloud`: what is rented and what it costs, and runs on a rented cluster."""

import argparse
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from eigen2.cloud.api import RunPod
from eigen2.cloud.fleet import end_cluster, ours
from eigen2.cloud.jobs import check_results_survive, entrypoint, jobs_of
from eigen2.cloud.link import DASHBOARD_PORT, Cluster, Head
from eigen2.cloud.places import AUTH_TOKEN
from eigen2.cloud.pod import Pod
from eigen2.config import RunConfig
from eigen2.errors import ConfigError, RunError
from eigen2.tracking.progress import duration

GRAFANA_PORT, PROMETHEUS_PORT = 3000, 9090
DONE = "SUCCEEDED"


def run(args: argparse.Namespace) -> int:
    """Do what `args.action` says; returns 0 when it is done, 1 where a job failed or something is left."""
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "list": _list,
        "sweep-up": _sweep_up,
        "submit": _submit,
        "jobs": _jobs,
        "logs": _logs,
        "stop": _stop,
        "pull": _pull,
        "dashboard": _dashboard,
    }
    return actions[args.action](args)


def _list(args: argparse.Namespace) -> int:
    _show(ours(RunPod.from_environment()))
    return 0


def _sweep_up(args: argparse.Namespace) -> int:
    api, console = RunPod.from_environment(), Console()
    found = [pod for pod in ours(api) if args.name in (None, pod.cluster)]
    _show(found)
    if not found:
        return 0
    if not args.yes and not _agreed(console, f"End {_counted(found)}, with all that is on their disks?"):
        console.print("nothing was ended")
        return 1
    for cluster in sorted({str(pod.cluster) for pod in found}):
        console.print(f"cluster {cluster}: ended {_counted(end_cluster(api, cluster))}", highlight=False)
    return 0


def _submit(args: argparse.Namespace) -> int:
    command = args.words[1:] if args.words[:1] == ["--"] else args.words
    if not command:
        raise ConfigError("submit what? for example: eigen2 cloud submit -- train configs/full.yaml")
    head = _head(args)
    if args.max_cost is not None or args.max_hours is not None:
        check_results_survive(head, command)
    console = Console()
    with jobs_of(head) as jobs:
        job = jobs.submit(entrypoint(head, command, args.max_cost, args.max_hours))
        console.print(f"job {job}; it goes on without this machine", highlight=False)
        console.print(f"see it with: eigen2 cloud logs {job}    end it with: eigen2 cloud stop {job}", highlight=False)
        return 0 if args.no_wait else int(jobs.follow(job, _write) != DONE)


def _jobs(args: argparse.Namespace) -> int:
    table = Table("job", "state", "command", box=None)
    with jobs_of(_head(args)) as jobs:
        for found in jobs.all():
            table.add_row(*found)
    Console().print(table)
    return 0


def _logs(args: argparse.Namespace) -> int:
    with jobs_of(_head(args)) as jobs:
        state = jobs.follow(args.job, _write)
    Console().print(f"job {args.job}: {state}", highlight=False)
    return int(state != DONE)


def _stop(args: argparse.Namespace) -> int:
    with jobs_of(_head(args)) as jobs:
        jobs.stop(args.job)
    Console().print(f"job {args.job} is told to stop; the cluster stays until `ray down`", highlight=False)
    return 0


def _pull(args: argparse.Namespace) -> int:
    if "/" in args.run or args.run.startswith("."):
        raise RunError(f"{args.run!r} is no name of a run; give the name of a folder under the cluster's runs")
    head = _head(args)
    there, here = (head.cluster.sweeps, "sweeps") if args.sweep else (head.cluster.runs, RunConfig().runs_dir)
    home = Path(here) / args.run
    head.pull(there / args.run, home)
    Console().print(f"{'sweep' if args.sweep else 'run'} folder: {home}", highlight=False)
    return 0


def _dashboard(args: argparse.Namespace) -> int:
    console, head = Console(), _head(args)
    with head.tunnel({args.port: DASHBOARD_PORT, GRAFANA_PORT: GRAFANA_PORT, PROMETHEUS_PORT: PROMETHEUS_PORT}):
        console.print(f"Ray dashboard: http://127.0.0.1:{args.port}   it asks for the token in {AUTH_TOKEN}")
        console.print(f"Grafana: http://127.0.0.1:{GRAFANA_PORT}   Prometheus: http://127.0.0.1:{PROMETHEUS_PORT}")
        console.print("Ctrl-C closes the tunnel")
        while True:
            time.sleep(3600)


def _head(args: argparse.Namespace) -> Head:
    return Head.find(Cluster.load(Path(args.cluster)), RunPod.from_environment())


def _show(pods: list[Pod]) -> None:
    now, console = datetime.now(UTC), Console()
    if not pods:
        console.print("no pods of eigen2 are rented")
        return
    table = Table("pod", "cluster", "kind", "status", "GPU", "age", "USD/h", "USD", box=None)
    for pod in pods:
        figures = [duration(pod.age_s(now)), f"{pod.usd_per_hour:.2f}", f"{pod.usd(now):.2f}"]
        table.add_row(pod.id, pod.cluster, pod.tags.get("ray-node-type", "?"), pod.status, pod.gpu, *figures)
    console.print(table)
    hourly, total = sum(pod.usd_per_hour for pod in pods), sum(pod.usd(now) for pod in pods)
    console.print(f"{_counted(pods)}: ${hourly:.2f} an hour, ${total:.2f} so far", highlight=False)


def _counted(pods: list[Pod]) -> str:
    return f"{len(pods)} pod{'s' if len(pods) != 1 else ''}"


def _agreed(console: Console, question: str) -> bool:
    return sys.stdin.isatty() and console.input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
