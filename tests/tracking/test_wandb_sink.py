"""W&B: the real client, offline and against a stand-in on loopback. Each run in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from eigen2.config import TrackingConfig
from eigen2.errors import ConfigError
from eigen2.tracking.credentials import credentials_source
from eigen2.tracking.wandb_sink import WandbSink, choose_mode

# mode, first generation, rows that the folder has of the time before, last generation, folder, whether it is killed
RESUMED = """
import json, os, signal, sys
from pathlib import Path
from eigen2.config import TrackingConfig
from eigen2.tracking.wandb_sink import WandbSink
mode, first, rows, last, folder, kill = json.loads(sys.argv[1])
row = lambda generation: {"generation": generation, "fitness/mean": generation / 2, "none": None}
tracking = TrackingConfig(wandb_mode=mode, wandb_project="p")
sink = WandbSink.start(tracking, "a", Path(folder), {}, "abcd1234", first > 0)
sink.catch_up([row(generation) for generation in range(rows)])
for generation in range(first, last):
    sink.log({name: value for name, value in row(generation).items() if value is not None})
if kill:
    os.kill(os.getpid(), signal.SIGKILL)
sink.finish({"final/win_rate": 0.5}, None)
"""

# a server that refuses, or is gone, after the first generation
LOST = """
import json, logging, os, signal, sys, time
from pathlib import Path
from eigen2.config import TrackingConfig
from eigen2.tracking import wandb_sink
from eigen2.tracking.sink import Broadcast
logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.WARNING)
wandb_sink.FINISH_TIMEOUT_S = 4.0
server, how, folder = json.loads(sys.argv[1])
tracking = TrackingConfig(wandb_mode="online", wandb_project="p")
sinks = Broadcast({"W&B": wandb_sink.WandbSink.start(tracking, "a", Path(folder), {}, "abcd1234", False)})
for generation in range(5):
    started = time.monotonic()
    sinks.log({"generation": generation})
    assert time.monotonic() - started < 2, "training waits for W&B"
    if generation == 1:
        os.kill(server, getattr(signal, how))
    time.sleep(0.2)
sinks.finish({"final/win_rate": 0.5}, None)
sinks.finish({"final/win_rate": 0.5}, None)
"""

# how W&B hangs, folder: it goes on without W&B, and the process ends
HUNG = """
import json, logging, os, signal, sys
from pathlib import Path
from eigen2.config import TrackingConfig
from eigen2.tracking import wandb_sink
from eigen2.tracking.sink import Broadcast
logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.WARNING)
wandb_sink.FINISH_TIMEOUT_S = wandb_sink.HANG_S = 1.0
when, folder = json.loads(sys.argv[1])
tracking = TrackingConfig(wandb_mode="offline", wandb_project="p")
sink = wandb_sink.WandbSink.start(tracking, "a", Path(folder), {}, "abcd1234", False, init_timeout_s=2)
if when == "finish":
    import wandb
    os.kill(wandb.setup()._connection._proc._process.pid, signal.SIGSTOP)
sinks = Broadcast({"W&B": sink} if sink else {})
sinks.log({"generation": 0})
sinks.finish({"final/win_rate": 0.5}, None)
print("DONE")
"""

# folder, config's mode, rows: a run of a sweep
OF_AGENT = """
import json, logging, sys
from pathlib import Path
from eigen2.config import TrackingConfig
from eigen2.tracking.wandb_sink import WandbSink
logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.WARNING)
folder, mode = json.loads(sys.argv[1])
sink = WandbSink.of_agent(Path(folder), TrackingConfig(wandb_mode=mode))
print("VALUES", json.dumps(sink.parameters))
sink.log({"generation": 0})
sink.finish({"final/win_rate": 0.5}, None)
"""

ROOT = Path(__file__).parents[2]
STUB = Path(os.environ.get("EIGEN2_SHARED", ROOT.parent / "shared")) / "tools" / "wandb_stub.py"
KEY = "0123456789abcdef0123456789abcdef01234567"
UNREACHABLE = "http://127.0.0.1:9"

# first and last generation, folder, mode, whether to resume, whether the run completes
PROGRAM = """
import json, logging, sys
from pathlib import Path
from eigen2.config import Config, TrackingConfig
from eigen2.tracking.wandb_sink import WandbSink
logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
first, last, folder, mode, resume, complete = json.loads(sys.argv[1])
folder = Path(folder)
tracking = TrackingConfig(wandb_mode=mode, wandb_project="p", wandb_group="g")
dump = Config().model_dump(mode="json")
sink = WandbSink.start(tracking, "a-name", folder, dump, "abcd1234", resume, init_timeout_s=4)
for generation in range(first, last):
    sink.log({"generation": generation, "fitness/mean": generation / 2})
champion = folder / "champion.safetensors"
champion.write_bytes(b"weights")
sink.finish({"final/win_rate": 0.5} if complete else {}, champion if complete else None)
sink.finish({}, None)
print("ADDRESS", sink.address)
"""


@pytest.fixture(autouse=True)
def no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home without keys, and nothing of W&B in the environment."""
    for name in list(os.environ):
        if name.startswith("WANDB_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")


def run(
    folder: Path, generations: tuple[int, int], mode: str, resume: bool = False, complete: bool = True
) -> subprocess.CompletedProcess[str]:
    arguments = json.dumps([*generations, str(folder), mode, resume, complete])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def folders(folder: Path, kind: str) -> list[Path]:
    return sorted((folder / "wandb").glob(f"{kind}-*-abcd1234"))


# --- which mode -------------------------------------------------------------------------------------------------------


def test_auto_is_offline_without_credentials_and_online_with_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_mode(TrackingConfig()) == "offline"
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert choose_mode(TrackingConfig()) == "online"
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert choose_mode(TrackingConfig()) == "offline"
    assert choose_mode(TrackingConfig(wandb_mode="online")) == "online", "the config's word is last"


@pytest.mark.parametrize(
    ("name", "value", "mode"),
    [
        ("WANDB_MODE", "dryrun", "offline"),
        ("WANDB_MODE", "disabled", "disabled"),
        ("WANDB_MODE", "run", "online"),
        ("WANDB_DISABLED", "true", "disabled"),
        ("WANDB_DISABLED", "1", "disabled"),
        ("WANDB_DISABLED", "false", "online"),
    ],
)
def test_with_a_key_all_but_online_stays_local(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, mode: str
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv(name, value)
    assert choose_mode(TrackingConfig()) == mode


def test_a_mode_of_w_and_b_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", "ofline")
    with pytest.raises(ConfigError, match="WANDB_MODE is ofline; set it to online, offline or disabled"):
        choose_mode(TrackingConfig())
    assert choose_mode(TrackingConfig(wandb_mode="offline")) == "offline"


@pytest.mark.parametrize("command", ["offline", "disabled"])
def test_what_w_and_b_is_told_on_its_command_line_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, "-m", "wandb", command], check=True, capture_output=True, timeout=60)
    assert choose_mode(TrackingConfig()) == command
    monkeypatch.setenv("WANDB_MODE", "online")
    assert choose_mode(TrackingConfig()) == "online", "the environment's word is after the file's"


def test_the_users_own_settings_count_below_those_of_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings").write_text("[default]\nmode = offline\n")
    assert choose_mode(TrackingConfig()) == "offline"
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "settings").write_text("[default]\nmode = online\n")
    assert choose_mode(TrackingConfig()) == "online"


def test_without_a_home_there_are_no_credentials_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETRC", "~no-such-user/netrc")
    monkeypatch.setenv("WANDB_CONFIG_DIR", "~no-such-user/wandb")
    assert choose_mode(TrackingConfig()) == "offline"


def test_online_without_credentials_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match="WANDB_API_KEY"):
        choose_mode(TrackingConfig(wandb_mode="online"))


def test_credentials_are_found_in_netrc_for_the_server_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine api.wandb.ai\n  login user\n  password {KEY}\n")
    netrc.chmod(0o600)
    assert credentials_source() == str(netrc)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:8080")
    assert credentials_source() is None


def test_a_broken_netrc_is_told_without_its_content(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "netrc").write_text(f"password {KEY}\n")
    assert credentials_source() is None
    assert "netrc" in caplog.text
    assert KEY not in caplog.text


def test_disabled_is_no_sink_and_leaves_no_trace(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert WandbSink.start(TrackingConfig(wandb_mode="disabled"), "a", folder, {}, "abcd1234", False) is None
    assert not folder.exists()


def test_w_and_b_is_not_imported_before_a_run_starts() -> None:
    code = "import sys, eigen2.tracking.wandb_sink; sys.exit('wandb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# --- offline ----------------------------------------------------------------------------------------------------------


def test_offline_writes_into_the_run_folder_quietly_and_without_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    done = run(tmp_path / "run", (0, 3), "offline")
    (offline,) = folders(tmp_path / "run", "offline-run")
    logged = (offline / "run-abcd1234.wandb").read_bytes()
    for expected in (b"fitness/mean", b"final/win_rate", b"champion-abcd1234", b"champion.safetensors", b"a-name"):
        assert expected in logged
    assert done.stderr == ""
    assert f"wandb sync {offline}" in done.stdout
    assert "ADDRESS None" in done.stdout
    leaks = [p for p in (tmp_path / "run").rglob("*") if p.is_file() and KEY.encode() in p.read_bytes()]
    assert leaks == []
    assert KEY not in done.stdout


def test_a_server_out_of_reach_is_told_once_and_the_run_goes_on_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", UNREACHABLE)
    done = run(tmp_path / "run", (0, 2), "auto")
    assert done.stdout.count("can't be reached") == 1
    assert "logged offline" in done.stdout
    (offline,) = folders(tmp_path / "run", "offline-run")
    assert b"fitness/mean" in (offline / "run-abcd1234.wandb").read_bytes()


def python(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, json.dumps(arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_a_w_and_b_that_hangs_at_the_start_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "settings")  # reading it waits for ever, as reading a home does whose server is gone
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    done = python(HUNG, "start", str(tmp_path / "run"))
    told = "W&B can't be started: no answer within 6 s; the run is not logged to W&B"
    assert done.stdout.splitlines() == [told, "DONE"]


def test_a_w_and_b_that_hangs_at_the_end_is_done_without(tmp_path: Path) -> None:
    done = python(HUNG, "finish", str(tmp_path / "run"))
    assert done.stdout.splitlines() == ["W&B failed: HungError: no answer within 2 s; training goes on", "DONE"]


def test_a_w_and_b_that_cannot_start_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_CONFIG_DIR", "~no-such-user/wandb")
    done = python(HUNG, "start", str(tmp_path / "run"))
    told, end = done.stdout.splitlines()
    assert told == "W&B can't be started: Could not determine home directory; the run is not logged to W&B"
    assert end == "DONE"


def test_a_run_that_is_killed_leaves_the_rows_before_the_last_second(tmp_path: Path) -> None:
    """The row of a generation is committed when it is logged, not when the next one comes, and W&B writes it soon."""
    program = RESUMED.replace("if kill:", "import time; time.sleep(3)\nif kill:")
    arguments = json.dumps(["offline", 0, 0, 3, str(tmp_path / "run"), True])
    subprocess.run([sys.executable, "-c", program, arguments], cwd=ROOT, timeout=120, check=False)
    (offline,) = folders(tmp_path / "run", "offline-run")
    logged = (offline / "run-abcd1234.wandb").read_bytes()
    assert logged.count(b"fitness/mean") >= 3


@pytest.mark.parametrize(("mode", "said"), [("offline", "W&B is offline here"), ("disabled", "W&B is disabled here")])
def test_a_run_of_a_sweep_stays_local_where_w_and_b_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, said: str
) -> None:
    values = tmp_path / "values.yaml"
    values.write_text("wandb_version: 1\ngamma:\n  value: 0.9\n")
    given = {"SWEEP_ID": "s1", "RUN_ID": "abcd1234", "SWEEP_PARAM_PATH": str(values), "API_KEY": KEY, "MODE": mode}
    for name, value in given.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    done = python(OF_AGENT, str(tmp_path / "runs"), "auto")
    warning, shown = done.stdout.splitlines()
    assert warning.startswith(said)
    assert shown == 'VALUES {"gamma": 0.9}'
    assert len(folders(tmp_path / "runs", "offline-run")) == (1 if mode == "offline" else 0)
    assert folders(tmp_path / "runs", "run") == []


class Refusing(BaseHTTPRequestHandler):
    """Answers every request with one status."""

    status = 500

    def _refuse(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = do_PUT = do_HEAD = _refuse  # noqa: N815 - the library wants these names

    def log_message(self, *args: object) -> None:
        """Quietly."""


@pytest.mark.parametrize("status", [401, 500])
def test_a_server_that_refuses_is_told_once_and_the_run_goes_on_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Refusing", (Refusing,), {"status": status}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    done = run(tmp_path / "run", (0, 2), "auto")
    server.shutdown()
    assert done.stdout.count("logged offline") == 1
    assert KEY not in done.stdout + done.stderr
    (offline,) = folders(tmp_path / "run", "offline-run")
    assert b"fitness/mean" in (offline / "run-abcd1234.wandb").read_bytes()


# --- against a stand-in server ------------------------------------------------------------------------------------


class Server:
    """A stand-in for W&B on loopback, and what it saw."""

    def __init__(self, folder: Path) -> None:
        port_file, self._record = folder / "port", folder / "record.json"
        command = [sys.executable, str(STUB), "--quiet", "--port", "0", "--port-file", str(port_file)]
        self.process = subprocess.Popen([*command, "--record", str(self._record)])
        deadline = time.monotonic() + 20
        while not (port_file.exists() and port_file.read_text().strip()):
            assert time.monotonic() < deadline, "the stand-in did not start"
            time.sleep(0.05)
        self.address = f"http://127.0.0.1:{port_file.read_text().strip()}"

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)

    def record(self) -> dict:
        self.stop()
        return json.loads(self._record.read_text())


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    if not STUB.exists():
        pytest.skip("needs a stand-in for the W&B server, which is not part of this repository")
    started = Server(tmp_path)
    monkeypatch.setenv("WANDB_BASE_URL", started.address)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    yield started
    started.stop()


def test_online_logs_each_generation_the_config_and_the_champion(tmp_path: Path, server: Server) -> None:
    done = run(tmp_path / "run", (0, 3), "auto")
    assert f"ADDRESS {server.address}/stub-user/p/runs/abcd1234" in done.stdout
    record = server.record()
    seen = record["runs"]["abcd1234"]
    assert [(step["_step"], step["generation"], step["fitness/mean"]) for step in seen["history"]] == [
        (0, 0, 0),
        (1, 1, 0.5),
        (2, 2, 1),
    ]
    assert (seen["state"], seen["exitcode"], seen["display_name"]) == ("finished", 0, "a-name")
    assert seen["summary"]["final/win_rate"] == 0.5
    assert seen["config_received"]["ddpg"]["gamma"] == 0.99
    assert KEY not in json.dumps(record)
    assert "champion-abcd1234" in json.dumps(record["artifacts"])


def test_a_run_that_did_not_complete_is_marked_failed(tmp_path: Path, server: Server) -> None:
    run(tmp_path / "run", (0, 1), "online", complete=False)
    assert server.record()["runs"]["abcd1234"]["exitcode"] == 1


def test_a_resumed_run_goes_on_in_the_same_w_and_b_run(tmp_path: Path, server: Server) -> None:
    run(tmp_path / "run", (0, 3), "online")
    run(tmp_path / "run", (2, 5), "online", resume=True)
    runs = server.record()["runs"]
    assert list(runs) == ["abcd1234"]
    assert [step["generation"] for step in runs["abcd1234"]["history"]] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_run_that_is_killed_and_resumed_lacks_no_generation(tmp_path: Path, server: Server, mode: str) -> None:
    """What was on its way to W&B when the process died is logged again, what had arrived is not."""
    for first, rows, last, kill in ((0, 0, 4, True), (3, 4, 7, True), (7, 7, 9, False)):
        arguments = json.dumps([mode, first, rows, last, str(tmp_path / "run"), kill])
        command = [sys.executable, "-c", RESUMED, arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == (-signal.SIGKILL if kill else 0), done.stderr
    if mode == "offline":
        sync(*folders(tmp_path / "run", "offline-run"))
    runs = server.record()["runs"]
    assert list(runs) == ["abcd1234"]
    history = runs["abcd1234"]["history"]
    assert [(step["_step"], step["generation"], step["fitness/mean"]) for step in history] == [
        (number, number, number / 2) for number in range(9)
    ]


@pytest.mark.parametrize("how", ["SIGKILL", "SIGSTOP"])
def test_a_server_that_is_lost_or_hangs_holds_up_nothing_and_is_told_once(
    tmp_path: Path, server: Server, how: str
) -> None:
    command = [sys.executable, "-c", LOST, json.dumps([server.process.pid, how, str(tmp_path / "run")])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    server.process.kill()
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("training goes on") == 1, done.stdout
    assert KEY not in done.stdout + done.stderr


def test_an_offline_session_that_was_sent_is_not_logged_again(tmp_path: Path, server: Server) -> None:
    run(tmp_path / "run", (0, 2), "offline")
    (first,) = folders(tmp_path / "run", "offline-run")
    sync(first)
    time.sleep(1.1)  # W&B names the folders by the second
    run(tmp_path / "run", (2, 4), "offline", resume=True)
    assert first.exists()
    (second,) = set(folders(tmp_path / "run", "offline-run")) - {first}
    sync(second)
    runs = server.record()["runs"]
    assert [step["generation"] for step in runs["abcd1234"]["history"]] == [0, 1, 2, 3]


def sync(*parts: Path) -> None:
    command = [sys.executable, "-m", "wandb", "sync", "--yes", *map(str, parts)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
