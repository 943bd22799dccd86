"""A day with a cluster on simulated pods; prints each command with what came of it, and writes what it observed.

Run in namespaces of its own: `unshare --net --pid --mount --fork --mount-proc --kill-child python -m
tests.cloud.simulated_day FOLDER DAY`, DAY being one of DAYS.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.cloud.fake_runpod import KEY, FakeRunPod, serving
from tests.cloud.pods import API_HOST, API_PORT, PUBLIC, VOLUME, World
from tests.faults.test_secrets import write_market
from tests.training.small import SMALL

ROOT = Path(__file__).parents[2]
WANDB_KEY = "wandbplanted" + "0b" * 14
PORT = 8266  # of the dashboard on the laptop
IDLE_MINUTES = 0.25
COMMAND_S = 400
PATIENCE_S = 400  # with whatever is slow here
RUN: dict[str, Any] = {
    "name": "day",
    "runs_dir": f"{VOLUME}/runs",
    "source": "market.csv",
    "context": [],
    "population_size": 4,
    "num_generations": 12,
    "gradient_steps_per_generation": 60,
    "cpus_per_member": 1,
    "wait_s": 600,  # a pod has to be rented, started and filled meanwhile, on however slow a machine
    "address": "auto",
}
NOISE = re.compile(
    r"VVINFO|VINFO|VWARN|(INFO|WARNING|WARN) (util|worker|cli|cli_output_helpers|usage_lib|commands|updater)\.py|"
    r"Permanently added|bash: (cannot set terminal|no job control)|Shared connection|^sent \d|^total size|"
    r"^sending incremental|^\S+/?$"
)
SWEEP: dict[str, Any] = {
    "method": "random",
    "metric": {"name": "validation/sharpe_ratio", "goal": "maximize"},
    "parameters": {"actor_lr": {"values": [0.001, 0.0001]}},
}
SMALLER = {"population_size": 2, "gradient_steps_per_generation": 30, "num_generations": 2}
FAILED = re.compile(r"^(eigen2: .* were asked for|tune\.sweep: )", re.MULTILINE)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Day:
    """The laptop: it types commands, and looks at the world behind RunPod's API."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world = World(folder)
        self.account = FakeRunPod(self.world.start)
        self.account.start_delay_s = 3
        self.seen: dict[str, Any] = {}
        self.config = folder / "cluster.yaml"
        self.config.write_text(yaml.safe_dump(simulated(folder), sort_keys=False))

    def type(self, *command: str, where: Path = ROOT) -> str:
        """Type a command as a user would; returns what it printed."""
        say(f"$ {' '.join(command)}")
        started = time.monotonic()
        done = subprocess.run(
            command,
            cwd=where,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_S,
            text=True,
            check=False,
        )
        for line in COLOUR.sub("", done.stdout).splitlines():
            if line.strip() and not NOISE.search(line):
                say(line)
        say(f"[{done.returncode}, {time.monotonic() - started:.0f} s]")
        if done.returncode:
            raise SystemExit(f"{command} failed:\n{done.stdout[-6000:]}")
        return done.stdout

    def on_head(self, command: str) -> str:
        return self.type("ray", "exec", str(self.config), command)

    def cloud(self, action: str, *words: str, where: Path = ROOT) -> str:
        return self.type("eigen2", "cloud", action, "--cluster", str(self.config), *words, where=where)

    def until(self, what: str, happened: Callable[[], Any]) -> Any:
        """Wait for something; the day ends badly if it doesn't happen, or if the run has failed."""
        started = time.monotonic()
        while not (found := happened()):
            if self.failed() or time.monotonic() - started > PATIENCE_S:
                self.explain()
                raise SystemExit(f"never: {what}")
            time.sleep(0.5)
        say(f"# {what}: after {time.monotonic() - started:.0f} s")
        return found

    def failed(self) -> bool:
        """Whether the run or the sweep gave up; read from the job's log, which asks nobody."""
        logs = [log.read_text(errors="replace") for folder in self.logs() for log in folder.glob("job-driver-*.log")]
        return any(FAILED.search(log) for log in logs)

    def explain(self) -> None:
        """Print the ends of the logs that say why something did not happen."""
        for folder in self.logs():
            for log in [*folder.glob("job-driver-*.log"), *folder.glob("monitor*.log")]:
                say(f"# {log.name}:\n{log.read_text(errors='replace')[-2000:]}")

    def logs(self) -> list[Path]:
        return [self.world.pods[head].root / "tmp/ray/session_latest/logs" for head in self.pods("head")]

    def pods(self, kind: str) -> list[str]:
        return [pod.id for pod in list(self.account.pods.values()) if f"-{kind}-" in pod.body["name"]]

    @property
    def metrics(self) -> Path:
        return self.world.volume / "runs" / "day" / "metrics.jsonl"

    def generations(self) -> int:
        return len(self.metrics.read_text().splitlines()) if self.metrics.exists() else 0


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def simulated(folder: Path) -> dict[str, Any]:
    """cluster.yaml, with what a simulation needs changed."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    config["idle_timeout_minutes"] = IDLE_MINUTES
    config["provider"] |= {"volume_id": "vol1", "volume_path": VOLUME, "max_usd_per_hour": 1.7}
    config["auth"]["ssh_proxy_command"] = f"{sys.executable} -m eigen2.cloud.sshproxy %h"
    kinds = config["available_node_types"]
    kinds["head"]["resources"] = {"CPU": 0}
    kinds["worker"] |= {"resources": {"CPU": 2}, "max_workers": 3}
    config["max_workers"] = 3
    for kind in kinds.values():
        kind["node_config"] = {**kind["node_config"], "gpu_types": ["NVIDIA A40", "NVIDIA L4"]}
    # pods have no internet: the environment is this one, the code is what was pushed
    pip = [command for command in config["setup_commands"] if "pip install" in command]
    assert len(pip) == 2
    here = [f"ln -sfn {sys.prefix} ~/eigen2-venv", "echo 'export PYTHONPATH=$HOME/eigen2' >> ~/.bashrc"]
    config["setup_commands"] = [*here, *(command for command in config["setup_commands"] if command not in pip)]
    for group in ("head_start_ray_commands", "worker_start_ray_commands"):
        config[group] = [
            command.replace("--disable-usage-stats", "--disable-usage-stats --object-store-memory=150000000")
            for command in config[group]
        ]
    config["file_mounts"]["~/day"] = str(folder / "day")
    return config


def prepare(folder: Path) -> None:
    """A laptop's home and /tmp of its own, and a run's config and market."""
    subprocess.run(["mount", "--make-rprivate", "/"], check=True, timeout=10)
    (folder / "day").mkdir()
    write_market(folder / "day" / "market.csv")
    source = {"source": "/root/day/market.csv"}
    (folder / "day" / "run.yaml").write_text(yaml.safe_dump(SMALL | RUN | source))
    (folder / "day" / "base.yaml").write_text(yaml.safe_dump(SMALL | RUN | source | SMALLER))
    (folder / "day" / "sweep.yaml").write_text(yaml.safe_dump(SWEEP))
    kept = [folder, ROOT, Path(sys.prefix), Path(sys.base_prefix)]
    shell = ["mount -t tmpfs tmpfs /mnt"]
    shell += [f"mkdir /mnt/{number}; mount --bind {path} /mnt/{number}" for number, path in enumerate(kept)]
    shell += ["mount -t tmpfs -o mode=1777 tmpfs /tmp", "mount -t tmpfs -o mode=700 tmpfs /root"]
    shell += [f"mkdir -p {path}; mount --bind /mnt/{number} {path}" for number, path in enumerate(kept)]
    shell += [f": > {folder}/nobody; mount --bind {folder}/nobody $(readlink -f /etc/resolv.conf)"]
    subprocess.run(["bash", "-ec", "\n".join(shell)], check=True, timeout=20)
    os.chdir(ROOT)


@contextmanager
def tunnel(day: Day, *command: str) -> Iterator[None]:
    """A tunnel to the dashboard in another terminal: `ray dashboard`, or another command that opens one."""
    command = command or ("ray", "dashboard", str(day.config), "-p", str(PORT))
    say(f"$ {' '.join(command)} &")
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    day.until("the dashboard answers", lambda: status(None) is not None)
    yield
    process.terminate()
    process.wait()


def status(token: str | None, path: str = "/api/jobs/") -> int | None:
    """HTTP status of the dashboard's Jobs API; None where nobody answers."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", headers=headers)
        return int(urllib.request.urlopen(request, timeout=5).status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def open_ports() -> list[int]:
    """All TCP ports of the pods' public address on which someone listens."""
    found = []
    for port in range(1, 65536):
        with socket.socket() as knock:
            knock.bind((API_HOST, 0))  # from elsewhere: a socket may reach itself by chance
            if knock.connect_ex((PUBLIC, port)) == 0:
                found.append(port)
    return found


def banner(port: int) -> str:
    with socket.create_connection((PUBLIC, port), 5) as connection:
        return connection.recv(8).decode()


def look_for_secrets(day: Day) -> None:
    """Note where each secret lies: files of every pod and of the volume, command lines, environments of processes."""
    token = Path("~/.ray/auth_token").expanduser().read_text().strip()
    planted = {"RUNPOD_API_KEY": KEY, "WANDB_API_KEY": WANDB_KEY, "the token": token}
    found: dict[str, list[str]] = day.seen.setdefault("secrets", {})
    places = [*files_of(day), *processes()]
    for name, secret in planted.items():
        here = {where for where, content in places if secret.encode() in content}
        found[name] = sorted({*found.get(name, []), *here})


def files_of(day: Day) -> Iterator[tuple[str, bytes]]:
    """(where, content) of every file that belongs to a pod, and of the volume's."""
    for pod_id in [*day.pods("head"), *day.pods("worker")]:
        root, kind = day.world.pods[pod_id].root, "head" if pod_id in day.pods("head") else "worker"
        for path in [path for top in ("tmp", "root", "run") for path in own_files(root / top)]:
            yield from content_of(path, f"{kind}:/{path.relative_to(root)}")
    for path in day.world.volume.rglob("*"):
        yield from content_of(path, f"volume:{path.name}")


def own_files(folder: Path) -> Iterator[Path]:
    """Files of a pod; not those of the Python installation that it shares with this machine."""
    device = folder.stat().st_dev
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if (Path(where) / name).lstat().st_dev == device]
        yield from (Path(where) / name for name in names)


def content_of(path: Path, where: str) -> Iterator[tuple[str, bytes]]:
    try:
        if path.is_file() and not path.is_symlink():
            yield f"{where} {path.stat().st_mode & 0o777:o}", path.read_bytes()
    except OSError:
        return  # a temporary file that is gone by now


def processes() -> Iterator[tuple[str, bytes]]:
    """(where, content) of every command line, and of the environment of every process in a pod."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "comm").read_text().strip()
            yield f"command line of {name}", (process / "cmdline").read_bytes()
            if inside_a_pod(process):
                yield f"environment of {name}", (process / "environ").read_bytes()
        except OSError:
            continue  # it ended while being looked at


def inside_a_pod(process: Path) -> bool:
    return (process / "ns" / "net").readlink() != Path("/proc/self/ns/net").readlink()


def busiest_worker(day: Day) -> str:
    """A worker on which members live: one with the most Ray workers named after them."""

    def members(pod_id: str) -> int:
        root = day.world.pods[pod_id].root / "proc"
        names = [path.read_bytes() for path in root.glob("[0-9]*/cmdline")]
        return sum(name.startswith(b"ray::Member") for name in names)

    counts = {pod_id: members(pod_id) for pod_id in day.pods("worker")}
    day.seen["members a pod"] = sorted(counts.values())
    return max(counts, key=lambda pod_id: counts[pod_id])


def long_day(day: Day) -> None:
    """Up, a population on two pods, one of them lost, idle, a sweep, and a budget that takes everything down."""
    day.type("ray", "up", "-y", str(day.config))
    day.seen["code"] = day.on_head("python -c 'import eigen2; print(eigen2.__file__)'")
    day.type("eigen2", "cloud", "list")
    with tunnel(day):
        token = Path("~/.ray/auth_token").expanduser().read_text().strip()
        day.seen["status"] = {"none": status(None), "wrong": status("wrong"), "right": status(token)}
        a_population(day)
    day.cloud("logs", "day")
    day.cloud("pull", "day", where=day.folder)
    look_for_secrets(day)
    rows = [json.loads(line) for line in day.metrics.read_text().splitlines()]
    day.seen["cost"] = {"total": rows[-1]["cost/total"], "generations": [row["cost/generation"] for row in rows]}
    day.until("idle workers are given back", lambda: not day.pods("worker"))
    a_sweep(day)
    a_budget(day)


def a_population(day: Day) -> None:
    """Four members on two pods, one of which is lost; what the outside reaches, and where secrets lie, meanwhile."""
    address = ("--address", f"http://127.0.0.1:{PORT}", "--submission-id", "day")
    day.type("ray", "job", "submit", *address, "--no-wait", "--", "bash", "-c", "cd ~/day && eigen2 train run.yaml")
    day.until("two workers", lambda: len(day.pods("worker")) == 2)
    day.until("two generations", lambda: day.generations() >= 2)
    doomed = busiest_worker(day)
    before = day.generations()
    say(f"# pod {doomed} is lost in generation {before}")
    with day.account.lock:
        day.account.pods.pop(doomed).machine.end()
    day.until("a replacement", lambda: len(day.pods("worker")) == 2)
    # the run can't go on before the replacement has joined: both workers are there to be looked at
    ports = open_ports()
    day.seen["pods when scanned"], day.seen["banners"] = len(day.account.pods), [banner(port) for port in ports]
    look_for_secrets(day)
    day.on_head("ray status")
    day.until("the run is done", lambda: (day.metrics.parent / "results.txt").exists())
    day.seen["generations"] = [before, day.generations()]


def a_sweep(day: Day) -> None:
    """Two trials that need a pod each, on a cluster that has none yet."""
    words = ["/root/day/sweep.yaml", "--config", "/root/day/base.yaml", "--name", "day", "--samples", "2"]
    day.cloud("submit", "--no-wait", "--", "python", "-m", "tune.sweep", *words, "--concurrent", "2")
    day.until("two workers for two trials", lambda: len(day.pods("worker")) == 2)
    day.cloud("jobs")
    trials = day.world.volume / "sweeps/day/trials.jsonl"
    day.until("both trials are done", lambda: len(finished(trials)) == 2)
    day.seen["trials"] = finished(trials)
    day.cloud("pull", "--sweep", "day", where=day.folder)
    day.until("idle workers are given back", lambda: not day.pods("worker"))


def finished(trials: Path) -> list[str]:
    """Names of the trials that came to their end."""
    rows = [json.loads(line) for line in trials.read_text().splitlines()] if trials.exists() else []
    return sorted({row["trial"] for row in rows if row["state"] == "finished"})


def a_budget(day: Day) -> None:
    """A run with a budget of seconds: it stops at a checkpoint, and the head takes the cluster down by itself.

    A busy machine takes most of them to start the run.
    """
    changed = ("--name", "budget", "--set", "run.num_generations=5000")
    budget = ("--no-wait", "--max-hours", "0.015", "--max-cost", "50")
    day.cloud("submit", *budget, "--", "train", "/root/day/base.yaml", *changed)
    day.until("the cluster is gone", lambda: not day.account.pods)
    run = day.world.volume / "runs" / "budget"
    rows = (run / "metrics.jsonl").read_text().splitlines()
    checkpoints = sorted(path.name for path in (run / "checkpoints").glob("gen_*"))
    day.seen["budget"] = {"rows": len(rows), "newest checkpoint": checkpoints[-1]}


def short_day(day: Day) -> None:
    """Up with one worker, which is lost and replaced; our own tunnel, the preflight, a job that is stopped; down."""
    config = yaml.safe_load(day.config.read_text())
    config["available_node_types"]["worker"]["min_workers"] = 1
    day.config.write_text(yaml.safe_dump(config, sort_keys=False))
    day.type("ray", "up", "-y", str(day.config))
    (first,) = day.until("a worker", lambda: day.pods("worker"))
    day.until("it joins", lambda: alive(day, first))
    day.seen["preflight"] = day.cloud("submit", "--", "doctor", "--cluster", "--runs-dir", f"{VOLUME}/runs")
    with day.account.lock:
        day.account.pods.pop(first).machine.end()
    (second,) = day.until("a replacement", lambda: [pod for pod in day.pods("worker") if pod != first])
    day.until("it joins", lambda: alive(day, second))
    with tunnel(day, "eigen2", "cloud", "dashboard", "--cluster", str(day.config), "--port", str(PORT)):
        day.seen["status"] = status(None)
    day.type("ray", "up", "-y", "--no-restart", str(day.config))
    told = day.cloud("submit", "--no-wait", "--", "sleep", "600")
    (job,) = re.findall(r"job (\S+);", told)
    day.cloud("stop", job)
    day.until("the job is stopped", lambda: "STOPPED" in day.cloud("jobs"))


def alive(day: Day, pod_id: str) -> bool:
    """Whether Ray counts a pod among its living nodes."""
    listed = "[node['NodeManagerAddress'] for node in ray.nodes() if node['Alive']]"
    code = f"import ray; ray.init('auto', log_to_driver=False); print('ALIVE', *{listed}, 'END')"
    return f" {day.world.pods[pod_id].private_ip} " in day.on_head(f'python -c "{code}"')


DAYS: dict[str, tuple[str, Callable[[Day], None]]] = {  # name: the autoscaler's version, and what happens
    "long": ("2", long_day),
    "short": ("1", short_day),
}


def main(folder: Path, name: str) -> None:
    version, happens = DAYS[name]
    prepare(folder)
    os.environ |= {
        "HOME": "/root",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin",
        "RUNPOD_API_KEY": KEY,
        "RUNPOD_API_BASE": f"http://{API_HOST}:{API_PORT}/v2",
        "WANDB_API_KEY": WANDB_KEY,
        "RAY_AUTH_MODE": "token",
        "RAY_UP_enable_autoscaler_v2": str(int(version == "2")),
        "PYTHONPATH": str(ROOT),
    }
    day = Day(folder)
    with serving(day.account, API_HOST, API_PORT):
        try:
            happens(day)
        finally:
            for pod in list(day.account.pods.values()):
                say(f"# log of {pod.body['name']}: {(folder / pod.id / 'log').read_text()[-300:]}")
            logs = folder / "logs"
            for pod_id in day.pods("head"):
                found = day.world.pods[pod_id].root / "tmp/ray/session_latest/logs"
                if found.exists():
                    shutil.copytree(found, logs, ignore_dangling_symlinks=True, dirs_exist_ok=True)
        if day.account.pods:
            day.type("ray", "down", "-y", str(day.config))
        day.seen["left"] = sorted(day.account.pods)
        day.type("eigen2", "cloud", "list")
    day.seen["broken"] = day.account.broken
    day.seen["most calls in a minute"] = day.account.most_calls_in_a_minute()
    day.seen["calls"] = {method: day.account.count(method) for method in ("GET", "POST", "DELETE")}
    (folder / "seen.json").write_text(json.dumps(day.seen, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2])
