"""Runs on a cluster as Ray jobs, which go on when the laptop is closed."""

import asyncio
import shlex
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray.job_submission import JobSubmissionClient

from eigen2.cloud.link import DASHBOARD_PORT, Head, free_port
from eigen2.cloud.places import AUTH_TOKEN
from eigen2.errors import ConfigError, ResourceError

OWN_COMMANDS = ("train", "evaluate", "doctor", "data", "config")
SWEEP = ["python", "-m", "tune.sweep"]


class Jobs:
    """The jobs of a cluster, through a tunnel to its head."""

    def __init__(self, client: JobSubmissionClient) -> None:
        self._client = client

    def submit(self, entrypoint: str) -> str:
        """Start a job; returns its id."""
        job: str = self._client.submit_job(entrypoint=entrypoint, submission_id=f"eigen2-{uuid.uuid4().hex[:8]}")
        return job

    def follow(self, job: str, show: Callable[[str], object]) -> str:
        """Show what a job prints until it ends; returns how it ended."""

        async def tail() -> None:
            async for text in self._client.tail_job_logs(job):
                show(text)

        self.state(job)
        asyncio.run(tail())
        return self.state(job)

    def stop(self, job: str) -> None:
        """End a job; its last checkpoint stands."""
        self.state(job)
        self._client.stop_job(job)

    def state(self, job: str) -> str:
        """A job's state. Raises ConfigError if there is none of this name."""
        try:
            return str(self._client.get_job_status(job).value)
        except RuntimeError as error:
            raise ConfigError(f"the cluster has no job {job!r}; `eigen2 cloud jobs` lists them") from error

    def all(self) -> list[tuple[str, str, str]]:
        """(id, state, command) of all jobs that were submitted, oldest first."""
        found: list[Any] = [job for job in self._client.list_jobs() if job.submission_id]
        found.sort(key=lambda job: job.start_time or 0)
        return [(job.submission_id, str(job.status.value), job.entrypoint) for job in found]


@contextmanager
def jobs_of(head: Head) -> Iterator[Jobs]:
    """The jobs of a head's cluster, for as long as the tunnel stands."""
    token = Path(AUTH_TOKEN).expanduser()
    if not token.is_file():
        raise ConfigError(f"{token} is not there: without the cluster's token it lets nobody in")
    port = free_port()
    with head.tunnel({port: DASHBOARD_PORT}):
        headers = {"Authorization": f"Bearer {token.read_text(encoding='utf-8').strip()}"}
        try:
            yield Jobs(JobSubmissionClient(f"http://127.0.0.1:{port}", headers=headers))
        except (ConnectionError, RuntimeError) as error:
            raise ResourceError(f"Ray's dashboard on the head: {str(error).splitlines()[0]}") from error


def entrypoint(head: Head, command: Sequence[str], max_usd: float | None, max_hours: float | None) -> str:
    """The shell command of a job on the head.

    Commands run in the pushed working tree; `train` and sweeps on the whole cluster, into the folders of runs and of
    sweeps. With a budget the run stops at a checkpoint when it is spent, and the cluster is taken down when it ends.
    """
    budget = _words({"--max-cost": max_usd, "--max-hours": max_hours})
    grace: list[str] = []
    words = list(command)
    if words[0] in OWN_COMMANDS:
        words.insert(0, "eigen2")
    if words[:2] == ["eigen2", "train"]:
        words += ["--address", "auto", *budget]
        words += [] if "--resume" in words else ["--set", f"run.runs_dir={head.cluster.runs}"]
    elif budget:
        grace = ["--grace", "0"]  # nothing else keeps a budget itself; a sweep goes on with its checkpoints
    if words[: len(SWEEP)] == SWEEP:
        words += ["--address", "auto"]
    whose = ["--owner", head.cluster.id.owner, "--cluster", head.cluster.id.name]
    keeper = ["python", "-m", "eigen2.cloud.keeper", *whose, *budget, *grace, "--", *words]
    sweeps = shlex.quote(str(head.cluster.sweeps))
    return f"cd ~/eigen2 && mkdir -p {sweeps} && ln -sfn {sweeps} sweeps && exec {shlex.join(keeper)}"


def _words(options: Mapping[str, float | None]) -> list[str]:
    return [word for name, value in options.items() if value is not None for word in (name, f"{value:g}")]


def check_results_survive(head: Head, command: Sequence[str]) -> None:
    """Refuse a budget where taking the cluster down would take the results along. Raises ConfigError."""
    if head.cluster.settings.volume_id is None and "--storage" not in command:
        raise ConfigError(
            "a budget takes the cluster down, and what the run has learnt would go with it; set provider.volume_id in "
            "the cluster file, or keep a copy with `train ... --storage s3://...`"
        )
