"""The command line: exit codes, one clear sentence for an error, and what the small commands print."""

from pathlib import Path

import pytest

from eigen2.__main__ import main
from eigen2.config import Config, load_config


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
        (["data", "check", "no such file"], 1, "no such file"),
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
    assert main(args) == code
    error = capsys.readouterr().err
    assert says in error
    assert error.startswith("eigen2: ")
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
