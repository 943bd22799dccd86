"""Reading a config: YAML, `field=value` overrides, and what is said when one is wrong."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from eigen2.config import Config, config_from_dict, dump_config, load_config
from eigen2.errors import ConfigError


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_nothing_given_is_the_defaults() -> None:
    assert load_config(None) == Config()


@pytest.mark.parametrize("text", ["", "# only a comment\n", "ddpg:\n"])
def test_an_empty_file_is_the_defaults(tmp_path: Path, text: str) -> None:
    assert load_config(written(tmp_path, text)) == Config()


def test_sections_plain_names_and_dotted_names_mean_the_same(tmp_path: Path) -> None:
    nested = load_config(written(tmp_path, "ddpg:\n  tau: 0.01\n  gamma: 0.9\n"))
    assert (nested.ddpg.tau, nested.ddpg.gamma) == (0.01, 0.9)
    assert load_config(written(tmp_path, "tau: 0.01\ngamma: 0.9\n")) == nested
    assert load_config(written(tmp_path, "ddpg.tau: 0.01\nddpg:\n  gamma: 0.9\n")) == nested
    assert load_config(None, ["tau=0.01", "ddpg.gamma=0.9"]) == nested


def test_an_override_wins_over_the_file_however_the_file_names_the_field(tmp_path: Path) -> None:
    for text in (
        "ddpg: {tau: 0.01, gamma: 0.9}",
        "tau: 0.01\ngamma: 0.9",
        "ddpg.tau: 0.01\ngamma: 0.9",
        "ddpg: {gamma: 0.9}\nddpg.tau: 0.01",
    ):
        for override in ("tau=0.02", "ddpg.tau=0.02", " ddpg.tau =0.02"):
            config = load_config(written(tmp_path, text), [override])
            assert (config.ddpg.tau, config.ddpg.gamma) == (0.02, 0.9), (text, override)


def test_the_last_of_two_overrides_wins() -> None:
    assert load_config(None, ["tau=0.02", "ddpg.tau=0.03"]).ddpg.tau == 0.03


@pytest.mark.parametrize(
    ("override", "section", "field", "value"),
    [
        ("actor_lr=1e-5", "ddpg", "actor_lr", 1e-5),
        ("num_generations=7", "run", "num_generations", 7),
        ("allow_pickle=true", "data", "allow_pickle", True),
        ("settlement_days=null", "slices", "settlement_days", None),
        ("run.name=a-b", "run", "name", "a-b"),
        ("features.features=[rsi, trix]", "features", "features", ("rsi", "trix")),
        ("investable=[AAPL]", "data", "investable", ("AAPL",)),
        ("source=some=file.csv", "data", "source", "some=file.csv"),
    ],
)
def test_overrides_are_read_as_yaml(override: str, section: str, field: str, value: Any) -> None:
    assert getattr(getattr(load_config(None, [override]), section), field) == value


@pytest.mark.parametrize("text", ["ddpg: {actor_lr: 1e-5}", "actor_lr: 1e-5", "ddpg.actor_lr: 1e-5"])
def test_yaml_text_such_as_1e_5_is_a_number(tmp_path: Path, text: str) -> None:
    assert isinstance(yaml.safe_load("1e-5"), str)
    assert load_config(written(tmp_path, text)).ddpg.actor_lr == 1e-5


@pytest.mark.parametrize("text", ["replay: {buffer_size: 1e6}", "buffer_size: 1e6"])
def test_yaml_text_such_as_1e6_is_a_whole_number(tmp_path: Path, text: str) -> None:
    assert load_config(written(tmp_path, text)).replay.buffer_size == 1_000_000


@pytest.mark.parametrize("name", ["2024", "1e5", "2024-01-31", "yes", "007"])
def test_a_name_that_looks_like_something_else_stays_a_name(tmp_path: Path, name: str) -> None:
    config = load_config(None, [f"run.name={name}", f"index={name}"])
    assert (config.run.name, config.data.index) == (name, name)
    assert load_config(None, [f'run.name="{name}"']).run.name == name
    assert load_config(written(tmp_path, dump_config(config))) == config


@pytest.mark.parametrize(
    ("values", "nearest"),
    [
        ({"acter_lr": 1}, "actor_lr"),
        ({"ddgp": {}}, "ddpg"),
        ({"ddpg": {"acter_lr": 1}}, "ddpg.actor_lr"),
        ({"ddpg.batchsize": 1}, "ddpg.batch_size"),
        ({"rules": {"batch_size": 1}}, "ddpg.batch_size"),
    ],
)
def test_an_unknown_field_is_answered_with_the_nearest(values: dict[str, Any], nearest: str) -> None:
    with pytest.raises(ConfigError, match=rf"^here: unknown field .*; did you mean {nearest}\?$"):
        config_from_dict(values, "here")


def test_an_unknown_field_like_no_other_gets_no_guess() -> None:
    with pytest.raises(ConfigError, match=r"^here: unknown field qqqqqq$"):
        config_from_dict({"qqqqqq": 1}, "here")


@pytest.mark.parametrize("override", ["no_such_thing_at_all=1", "ddpg=1", "tau", "tau=[", "tau=2", "tau=abc"])
def test_a_wrong_override_is_named(override: str) -> None:
    with pytest.raises(ConfigError):
        load_config(None, [override])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n- b\n", "a config is a mapping of sections, this is a list"),
        ("a: [", "not a YAML file"),
        ("ddpg: 3", "section ddpg must hold fields, not 3"),
        ("tau: 2", r"ddpg\.tau is 2: .*less than or equal to 1"),
        ("population_size: 0", r"evolution\.population_size is 0: "),
        ("fill: never", r"rules\.fill is 'never': "),
        ("gamma: .nan", r"ddpg\.gamma is nan: .*finite"),
        ("name: ../up", r"run\.name is '\.\./up': "),
    ],
)
def test_a_wrong_file_is_named_with_field_value_and_bound(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=said) as caught:
        load_config(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: can't be read: No such file"):
        load_config(tmp_path / "absent.yaml")


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ConfigError, match=r"run\.yaml: not a YAML file"):
        load_config(path)


def test_a_dumped_config_reads_back_the_same(tmp_path: Path) -> None:
    names = ["name=x", "features.features=[rsi]", "investable=[A, B]", "fill=close"]
    changed = load_config(None, [*names, "actor_lr=1e-5", "settlement_days=40"])
    for config in (Config(), changed):
        text = dump_config(config)
        assert load_config(written(tmp_path, text)) == config
        assert dump_config(load_config(written(tmp_path, text))) == text


def bomb(levels: int, top: str) -> str:
    """YAML whose aliases stand for 9 to the power of `levels` values under `top`."""
    lists = ["gamma: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    names = ("tau", "seed", "keep", "actor_lr", "critic_lr", "cost_bps", "batch_size", "lr_decay", "weight_decay")
    lists += [f"{name}: &a{k + 1} [{', '.join([f'*a{k}'] * 9)}]" for k, name in enumerate(names[: levels - 1])]
    return "\n".join([*lists, f"{top}: *a{levels - 1}", ""])


MERGED = ", ".join(f"&m{k} {{<<: [{', '.join([f'*m{k - 1}' if k else '{gamma: 1}'] * 9)}]}}" for k in range(9))


@pytest.mark.parametrize("text", [bomb(9, "ddpg"), f"ddpg: [{MERGED}]"])
def test_aliases_that_stand_for_very_many_values_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, text))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "text",
    [
        bomb(4, "ddpg"),
        "ddpg: " + "x" * 100_000,
        "gamma: [" + "0.5, " * 50_000 + "]",
        "gamma: 0x" + "f" * 20_000,
        "name: " + "x" * 100_000,
        '? "' + "x" * 10_000 + '"\n: 1',
    ],
)
def test_a_message_shows_only_the_beginning_of_a_value(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, text))
    assert len(str(caught.value)) < 500


def test_an_override_with_aliases_is_refused_too() -> None:
    with pytest.raises(ConfigError, match="is not a value YAML can read") as caught:
        load_config(None, [f"investable=[{MERGED}]"])
    assert len(str(caught.value)) < 500


def test_a_file_too_large_for_settings_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    with path.open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(ConfigError, match="is too large for a file of settings: 1,024 MiB"):
        load_config(path)
