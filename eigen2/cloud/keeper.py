"""`python -m eigen2.cloud.keeper --owner NAME --cluster NAME [--max-cost USD] [--max-hours H] [--grace S] -- COMMAND`

On the head. Gives the command its secrets, and with a budget sees that it is kept and the cluster is taken down when
the command ends or can't be started, also while the laptop sleeps.
"""

import argparse
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from eigen2.cloud.api import CALL_S, LISTED_S, RefusedError, RunPod
from eigen2.cloud.cost import Budget, Ledger
from eigen2.cloud.places import API_KEY, OWN_POD_ID, SECRETS, cost_file
from eigen2.cloud.pod import ClusterId
from eigen2.cloud.reservations import Reservations, renting
from eigen2.cloud.teardown import Patience, end_cluster
from eigen2.errors import Eigen2Error, ResourceError, RunError

POLL_S = 2.0
LOOK_S = 30.0  # between looks at what is rented; Ray's monitor looks more often, but may be away
GRACE_S = 600.0  # for a run to reach a checkpoint after its budget is spent
END_S = 60.0  # for a run to end after it was told to
RENTING_S = 300.0  # for Ray to end renting before the cluster is taken down
PATIENCE = Patience(refused_s=600, outage_s=math.inf)  # an outage ends some time; nobody else would end the pods
LIMITS = ("--max-cost", "--max-hours")
NOT_STARTED = 127  # a shell's exit code for a command that is not found


class CommandError(RunError):
    """The command can't be started."""

    exit_code = NOT_STARTED


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit code, or 1 where it went well and a pod is left."""
    cluster, has_budget = _taken_down(argv)
    left: list[str] = []
    try:
        code = _run(cluster, _arguments(argv))
    except Eigen2Error as error:
        say(str(error))
        code = error.exit_code
    finally:  # whatever happened: the cluster is paid for until it is taken down
        if has_budget:
            left = take_down(cluster)
    return code or int(bool(left))


def _run(cluster: ClusterId, args: argparse.Namespace) -> int:
    ledger = Ledger(cost_file())
    if args.max_cost is None:
        return keep(args.command, Budget(ledger, None, args.max_hours), POLL_S, args.grace)

    api = RunPod.from_environment(deadline_s=CALL_S)  # the run must not go unwatched for longer

    def look() -> None:
        look_at_cost(api, cluster, ledger)

    look()
    return keep(args.command, Budget(ledger, args.max_cost, args.max_hours), POLL_S, args.grace, look, LOOK_S)


def look_at_cost(api: RunPod, cluster: ClusterId, ledger: Ledger) -> None:
    """Enter into the ledger what is rented; while that can't be known, all that was is taken to be."""
    try:
        pods = [pod for pod in api.pods() if pod.cluster == cluster and pod.status != "TERMINATED"]
        ledger.enter(pods, api.now())
    except (RefusedError, OSError) as error:
        say(f"the cost goes on by what is known: {error}")


def take_down(cluster: ClusterId) -> list[str]:
    """End all pods of the cluster, this one last; returns and says what is left."""
    say(f"the run has ended; cluster {cluster.name} is taken down")
    try:
        with _nobody_renting(cluster.name) as listed_in_s:
            api, own_id = RunPod.from_environment(), os.environ.get(OWN_POD_ID)
            teardown = end_cluster(api, cluster, PATIENCE, last=own_id, last_after_s=listed_in_s)
        left = teardown.left()
    except Eigen2Error as error:
        left = [f"cluster {cluster.name} is left and still paid for: {error}; end it with `eigen2 cloud sweep-up`"]
    for sentence in left:
        say(sentence)
    return left


def keep(
    command: Sequence[str],
    budget: Budget,
    poll_s: float = POLL_S,
    grace_s: float = GRACE_S,
    look: Callable[[], None] = lambda: None,
    look_s: float = LOOK_S,
) -> int:
    """Run a command within a budget: one that goes on `grace_s` seconds after it is spent is ended.

    look: called every `look_s` seconds, to bring the budget's ledger up to date. Raises CommandError if the command
    can't be started.
    """
    try:
        process = subprocess.Popen(command, env={**os.environ, **handed_secrets()})
    except OSError as error:
        raise CommandError(f"{command[0]} can't be started: {error.strerror}") from error
    try:
        return _watch(process, budget, poll_s, grace_s, look, look_s)
    finally:
        if process.poll() is None:  # the watch failed: nobody would keep the budget
            _end(process)


def _watch(
    process: "subprocess.Popen[bytes]",
    budget: Budget,
    poll_s: float,
    grace_s: float,
    look: Callable[[], None],
    look_s: float,
) -> int:
    spent_since: float | None = None
    looked = time.monotonic()
    while process.poll() is None:
        time.sleep(poll_s)
        if time.monotonic() - looked > look_s:
            look()
            looked = time.monotonic()
        if spent_since is None and (spent := budget.spent()):
            spent_since = time.monotonic()
            say(f"{spent}; the run has {grace_s:g} s to reach a checkpoint")
        if spent_since is not None and time.monotonic() - spent_since > grace_s:
            _end(process)
    return process.returncode


def handed_secrets() -> dict[str, str]:
    """The secrets that were handed to this head for its runs; the key that rents pods is not among them."""
    folder = Path(SECRETS).expanduser()
    files = sorted(folder.glob("*")) if folder.is_dir() else []
    return {path.name: path.read_text(encoding="utf-8") for path in files if path.name != API_KEY}


def say(message: str) -> None:
    """To the job's log."""
    sys.stderr.write(f"eigen2: {message}\n")


@contextmanager
def _nobody_renting(cluster_name: str) -> Iterator[float]:
    """Keep Ray from renting, for as long as this lasts; yields the seconds in which RunPod lists what it has asked for.

    A search that does not end, or a disk that takes no lock, keeps nothing up.
    """
    with ExitStack() as stack:
        listed_in_s = LISTED_S
        try:
            stack.enter_context(renting(cluster_name, RENTING_S))
            listed_in_s = Reservations.of(cluster_name).left_s()
        except (ResourceError, OSError) as error:
            say(str(error))
        yield listed_in_s


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _taken_down(argv: Sequence[str]) -> tuple[ClusterId, bool]:
    """The cluster, and whether the words name a budget: known even where the rest of them can't be understood."""
    found, rest = _parser().parse_known_args(_before_command(argv))
    return ClusterId(found.owner, found.cluster), any(word.partition("=")[0] in LIMITS for word in rest)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = _parser()
    for limit in LIMITS:
        parser.add_argument(limit, type=float)
    parser.add_argument("--grace", type=float, default=GRACE_S)
    parser.add_argument("command", nargs="+")
    return parser.parse_args(argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m eigen2.cloud.keeper", allow_abbrev=False, add_help=False)
    parser.add_argument("--owner", required=True)
    parser.add_argument("--cluster", required=True)
    return parser


def _before_command(argv: Sequence[str]) -> Sequence[str]:
    return argv[: argv.index("--")] if "--" in argv else argv


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
