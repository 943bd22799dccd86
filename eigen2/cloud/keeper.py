"""`python -m eigen2.cloud.keeper --cluster NAME [--max-cost USD] [--max-hours H] [--grace S] -- COMMAND`, on the head.

Gives the command its secrets, and with a budget sees that it is kept and the cluster is taken down when the command
ends, whoever is awake by then.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from eigen2.cloud.api import RunPod
from eigen2.cloud.cost import Budget, Ledger
from eigen2.cloud.fleet import end_cluster
from eigen2.cloud.places import API_KEY, OWN_POD_ID, SECRETS, cost_file
from eigen2.errors import Eigen2Error

POLL_S = 2.0
GRACE_S = 600.0  # for a run to reach a checkpoint after its budget is spent
END_S = 60.0  # for a run to end after it was told to


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    args = _arguments(argv)
    limited = args.max_cost is not None or args.max_hours is not None
    try:
        budget = Budget(Ledger(cost_file()), args.max_cost, args.max_hours)
        code = keep(args.command, budget, grace_s=args.grace)
        if limited:
            say(f"the run has ended; cluster {args.cluster} is taken down")
            end_cluster(RunPod.from_environment(), args.cluster, last=os.environ.get(OWN_POD_ID))
    except Eigen2Error as error:
        say(str(error))
        return error.exit_code
    return code


def keep(command: Sequence[str], budget: Budget, poll_s: float = POLL_S, grace_s: float = GRACE_S) -> int:
    """Run a command within a budget: one that goes on `grace_s` seconds after it is spent is ended."""
    process = subprocess.Popen(command, env={**os.environ, **handed_secrets()})
    spent_since: float | None = None
    while process.poll() is None:
        time.sleep(poll_s)
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


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m eigen2.cloud.keeper")
    parser.add_argument("--cluster", required=True)
    parser.add_argument("--max-cost", type=float)
    parser.add_argument("--max-hours", type=float)
    parser.add_argument("--grace", type=float, default=GRACE_S)
    parser.add_argument("command", nargs="+")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
