"""The command line: exit codes, one clear sentence for an error, and what the small commands print."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from eigen2.__main__ import main
from eigen2.cli import train
from eigen2.config import Config, load_config
from eigen2.errors import ConfigError
from tests.market.tables import frame

QUICKSTART = Path(__file__).parents[2] / "configs" / "quickstart.yaml"


def test_the_config_shown_is_the_config_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--set", "tau=0.01", "--set", "name=2024"]) == 0
    shown = tmp_path / "shown.yaml"
    shown.write_text(capsys.readouterr().out, encoding="utf-8")
    assert load_config(shown) == load_config(None, ["tau=0.01", "name=2024"])
    assert "# " in shown.read_text(encoding="utf-8")


def test_every_field_is_shown_with_its_range(capsys: pytest.CaptureFixture[str]) -> None:
    main(["config", "show"])
    lines = capsys.readouterr().out.splitlines()
    fields = sum(len(type(section).model_fields) for _, section in Config())
    assert len(lines) == fields + len(Config.model_fields)
    assert "  gamma: 0.99  # discount a day (> 0, <= 1)" in lines


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["train"], 2, "name a config"),
        (["train", "--resume", "nowhere"], 1, "nowhere is not a run folder: it has no config.yaml"),
        (["train", "x.yaml", "--trust"], 2, "--trust is for --resume"),
        (["evaluate", "x.yaml", "--seeds", "2", "--other-data"], 2, "--other-data and --other-code are for one run"),
        (["train", "nothing.yaml"], 2, "nothing.yaml: can't be read"),
        (["train", "--resume", "x", "--name", "y"], 2, "leave out CONFIG and --name"),
        (["config", "show", "--set", "actr_lr=1"], 2, "did you mean actor_lr?"),
        (["config", "show", "--set", "gamma=2"], 2, "ddpg.gamma is 2"),
        (["train", "theirs/config.yaml"], 2, "theirs/config.yaml sets data.allow_pickle, which runs code"),
        (["evaluate", "theirs/config.yaml", "--seeds", "2"], 2, "theirs/config.yaml sets data.allow_pickle, which"),
        (["data", "check", "no such file"], 1, "no such file"),
        (["data", "check", "sp20", "--date-format", "%d/%m"], 2, "data.date_format is '%d/%m'"),
        (["evaluate", "nowhere"], 1, "nowhere is not a run folder"),
    ],
)
def test_an_error_is_one_sentence(
    args: list[str],
    code: int,
    says: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "run_id").write_text("abc")
    (tmp_path / "theirs" / "config.yaml").write_text("data: {allow_pickle: true, source: m.pkl}")
    assert main(args) == code
    error = capsys.readouterr().err
    assert says in error
    assert error.startswith("eigen2: ")
    assert len(error.splitlines()) == 1


def test_want_of_memory_is_told_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("eigen2.cli.config.run", lambda args: np.zeros(10**15))
    assert main(["config", "show"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("eigen2: this machine is out of memory (MemoryError: Unable to allocate ")
    assert error.endswith("lower evolution.population_size, or use a larger machine\n")
    assert len(error.splitlines()) == 1


def test_debug_adds_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "nowhere", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_bad_usage_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["bogus"])
    assert stop.value.code == 2
    assert "invalid choice" in capsys.readouterr().err


def test_data_check_tells_the_splits(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "sp20"]) == 0
    told = capsys.readouterr().out
    assert "hold-out: 251 days" in told
    assert "4781 days" in told


def checked(file: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    small = "validation_days=40 holdout_days=40 trading_days=15 max_holding_period=5 context_days=16"
    assert main(["data", "check", str(file), *(f"--set={field}" for field in small.split()), *options]) == 0
    return capsys.readouterr().out


def test_data_check_never_breaks_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    file = tmp_path / ("a name [bold] long enough to be broken " * 3 + ".csv")
    frame(260, step="W-FRI").to_csv(file)
    lines = checked(file, capsys).splitlines()
    what = "the median step between bars is 7 days: what rules, splits and reports call days are bars"
    assert f"- {file}: {what}" in lines


def test_data_check_takes_the_form_of_dates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    months = frame(260, first="1990-01-01", step="MS")
    months.index = months.index.strftime("%d/%m/%Y")
    months.to_csv(tmp_path / "m.csv")
    assert main(["data", "check", str(tmp_path / "m.csv")]) == 1
    assert "--date-format %d/%m/%Y" in capsys.readouterr().err
    assert "1990-01-01 to 2011-08-01" in checked(tmp_path / "m.csv", capsys, "--date-format", "%d/%m/%Y")


def test_data_check_warns_where_there_is_nothing_to_choose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame(260).to_csv(tmp_path / "m.csv")
    shown = checked(tmp_path / "m.csv", capsys)
    assert "warning: rules.max_holding_period is 5, and 1 stock may be bought" in shown
    assert "never more than 16.7 % is invested" in shown
    assert "warning" not in checked(Path("sp20"), capsys)


def test_train_gives_the_same_warnings_before_anything_starts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_cluster(config: Config, console: Console) -> None:
        raise ConfigError("no cluster in this test")

    monkeypatch.setattr(train, "join_cluster", no_cluster)
    assert main(["train", str(QUICKSTART), "--set", "max_holding_period=20"]) == 2
    assert "warning: rules.max_holding_period is 20, and 20 stocks may be bought" in capsys.readouterr().err
    main(["train", str(QUICKSTART), "--set", "max_holding_period=19"])
    assert "warning" not in capsys.readouterr().err


def test_a_reader_that_stops_reading_is_no_error() -> None:
    """Such as `eigen2 config show | head -1`, with a reader that is gone before the first line."""
    command = [sys.executable, "-m", "eigen2", "config", "show"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as shown:
        assert shown.stdout is not None
        assert shown.stderr is not None
        shown.stdout.close()
        assert shown.stderr.read() == b""
    assert shown.returncode == 1


def test_bars_that_are_not_days_are_not_called_days(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dates = pd.date_range("2005-01-07", periods=400, freq="W-FRI")
    table = pd.DataFrame({"date": dates, "A": 100.0 + np.arange(400), "B": 50.0 + np.arange(400)})
    table.to_csv(tmp_path / "weekly.csv", index=False)
    sets = ("validation_days=40", "holdout_days=40", "trading_days=15", "max_holding_period=1", "context_days=16")
    assert (
        main(["data", "check", str(tmp_path / "weekly.csv"), *(part for value in sets for part in ("--set", value))])
        == 0
    )
    told = capsys.readouterr().out
    assert "weekly.csv: 400 bars, 2005-01-07" in told
    assert "the median step between bars is 7 days" in told
    assert "hold-out: 40 bars" in told
    assert "missing bars" in told
