"""`eigen2 cloud`: what is rented and what it costs, and runs on a rented cluster."""

import argparse
import re
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from eigen2.cloud.api import RunPod
from eigen2.cloud.cost import check_limits
from eigen2.cloud.fleet import rented_by_us
from eigen2.cloud.jobs import check_results_survive, entrypoint, jobs_of
from eigen2.cloud.link import DASHBOARD_PORT, Cluster, Head
from eigen2.cloud.places import AUTH_TOKEN, owner
from eigen2.cloud.pod import ClusterId, Pod
from eigen2.cloud.teardown import Patience, end_cluster, ownerless
from eigen2.config import RunConfig
from eigen2.errors import ConfigError, RunError
from eigen2.tracking.progress import duration

GRAFANA_PORT, PROMETHEUS_PORT = 3000, 9090
WIDEST = 500  # columns of a table
DONE = "SUCCEEDED"
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # part of a path here and of a command there


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
    api, console = RunPod.from_environment(), Console()
    all_, me = rented_by_us(api), owner()
    mine = [pod for pod in all_ if pod.cluster and pod.cluster.owner == me]
    shown = all_ if args.all else mine
    if shown or not all_:
        _show(shown, api.now(), args.all)
    unknown = [pod for pod in all_ if pod.cluster is None]
    if (others := len(all_) - len(mine) - len(unknown)) and not args.all:
        console.print(f"{_counted(others)} of other owners: `eigen2 cloud list --all` shows them", highlight=False)
    _say([ownerless(pod) for pod in unknown], console)
    return 0


def _sweep_up(args: argparse.Namespace) -> int:
    api, console, whose = RunPod.from_environment(), Console(), args.owner or owner()
    all_ = rented_by_us(api, name=args.name)
    found = [pod for pod in all_ if pod.cluster and pod.cluster.owner == whose]
    clusters = sorted({pod.cluster for pod in found if pod.cluster})
    swept = {cluster.name for cluster in clusters}  # its teardown names what it leaves
    unknown = [ownerless(pod) for pod in all_ if pod.cluster is None and pod.ownerless_cluster not in swept]
    _show(found, api.now(), args.owner is not None)
    _say(unknown, console)
    if not found:
        return int(bool(unknown))
    if not args.yes and not _agreed(console, f"End {_counted(len(found))}, with all that is on their disks?"):
        console.print("nothing was ended")
        return 1
    left = [_end(api, cluster, console) for cluster in clusters]
    return int(any(left) or bool(unknown))


def _end(api: RunPod, cluster: ClusterId, console: Console) -> list[str]:
    """End a cluster's pods; returns and says what is left."""
    teardown = end_cluster(api, cluster, Patience())
    console.print(f"cluster {cluster.name}: ended {_counted(len(teardown.ended))}", highlight=False)
    _say(teardown.left(), console)
    return teardown.left()


def _say(sentences: Sequence[str], console: Console) -> None:
    for sentence in sentences:
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)


def _submit(args: argparse.Namespace) -> int:
    command = args.words[1:] if args.words[:1] == ["--"] else args.words
    if not command:
        raise ConfigError("submit what? for example: eigen2 cloud submit -- train configs/full.yaml")
    check_limits(args.max_cost, args.max_hours)
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
    if not RUN_NAME.fullmatch(args.run):
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


def _show(pods: Sequence[Pod], now: datetime, owners: bool) -> None:
    console = Console()
    if not pods:
        console.print("no pods of eigen2 are rented")
        return
    table = Table(
        "pod", *(["owner"] if owners else []), "cluster", "kind", "status", "GPU", "age", "USD/h", "USD", box=None
    )
    for pod in pods:
        whose = pod.cluster or ClusterId("?", pod.ownerless_cluster or "?")
        age_s = pod.age_s(now)
        figures = ["?" if age_s is None else duration(age_s), _usd(pod.usd_per_hour), _usd(pod.usd(now))]
        whose_names = [*whose] if owners else [whose.name]
        table.add_row(pod.id, *whose_names, pod.kind or "?", pod.status, pod.gpu, *figures)
    # a pod's id is of no use in part
    needed = Measurement.get(console, console.options.update_width(WIDEST), table).maximum
    Console(width=max(console.width, needed)).print(table)
    hourly = sum(pod.usd_per_hour or 0.0 for pod in pods)
    total, unknown = sum(pod.usd(now) or 0.0 for pod in pods), sum(pod.usd(now) is None for pod in pods)
    more = f", and what {unknown} of them cost without a known price or age" if unknown else ""
    console.print(
        f"{_counted(len(pods))}: ${hourly:.2f} an hour, ${total:.2f} so far{more}", highlight=False, soft_wrap=True
    )


def _usd(amount: float | None) -> str:
    return "?" if amount is None else f"{amount:.2f}"


def _counted(number: int) -> str:
    return f"{number} pod{'s' if number != 1 else ''}"


def _agreed(console: Console, question: str) -> bool:
    return sys.stdin.isatty() and console.input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
