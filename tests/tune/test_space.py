"""The laws of parameters are W&B's, for our draws and for Optuna's; the grid, the middle, and every corner."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from scipy import stats

from eigen2.config import Config, SlicesConfig
from eigen2.errors import ConfigError
from tests.tune.files import sweep_of
from tune.laws import Beta, Categories, Integers, Law, LogUniform, Normal, Quantised, Uniform
from tune.space import Parameter, Space, config_of, values_of
from tune.sweep_file import SweepFile

VECTORS = json.loads((Path(__file__).parent / "law_vectors.json").read_text())  # made by make_law_vectors.py
SHIPPED = Path(__file__).parents[2] / "configs" / "sweep_config.yaml"
PLAIN: dict[str, Any] = {
    "uniform": Uniform,
    "log_uniform_values": LogUniform,
    "inv_log_uniform_values": LogUniform,
    "normal": lambda mu=0.0, sigma=1.0: Normal(mu, sigma),
    "log_normal": lambda mu=0.0, sigma=1.0: Normal(mu, sigma, of_log=True),
    "beta": lambda a=1.0, b=1.0: Beta(a, b),
}


def law_of(spec: dict[str, Any]) -> Law:
    """The law of a distribution without a config field behind it."""
    if "values" in spec:
        return Categories(tuple(spec["values"]), tuple(spec["probabilities"]) if "probabilities" in spec else None)
    renamed = {"min": "low", "max": "high"}
    given = {renamed.get(key, key): value for key, value in spec.items() if key not in ("distribution", "q")}
    whole = all(isinstance(value, int) for value in given.values())
    name = spec.get("distribution", "int_uniform" if whole else "uniform")
    if name == "int_uniform":
        return Integers(**given)
    law = PLAIN[name.removeprefix("q_")](**given)
    return Quantised(law, spec.get("q", 1.0)) if name.startswith("q_") else law


LAWS = [pytest.param(law_of(case["spec"]), case["quantiles"], id=json.dumps(case["spec"])) for case in VECTORS]


@pytest.mark.parametrize(("law", "quantiles"), LAWS)
def test_quantiles_are_those_of_the_published_engine(law: Law, quantiles: list[list[Any]]) -> None:
    for u, expected in quantiles:
        value = law.quantile(u)
        assert value == (pytest.approx(expected, rel=1e-9) if isinstance(expected, float) else expected)
        assert isinstance(expected, int) == isinstance(value, int)


@pytest.mark.parametrize(("law", "quantiles"), LAWS)
def test_optuna_draws_by_the_same_law(law: Law, quantiles: list[list[Any]]) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [law.decode(study.ask({"x": law.distribution}).params["x"]) for _ in range(500)]
    ours = [law.quantile(u) for u in np.random.default_rng(0).random(500)]
    if isinstance(law, Categories):
        assert [drawn.count(value) for value in law.values] == pytest.approx(
            [ours.count(value) for value in law.values], abs=60
        )
    else:
        assert stats.ks_2samp(drawn, ours).pvalue > 0.001


@pytest.mark.parametrize(("law", "quantiles"), LAWS)
def test_what_optuna_would_have_drawn_gives_the_value_again(law: Law, quantiles: list[list[Any]]) -> None:
    for _, value in quantiles:
        again = law.decode(law.encode(value))
        assert again == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value)


def test_the_ends_of_the_shares_are_values_too() -> None:
    for case in VECTORS:
        law = law_of(case["spec"])
        ends = [law.quantile(0.0), law.quantile(1.0)]
        if law.ends is not None:
            assert ends == pytest.approx(list(law.ends))
        elif not isinstance(law, Categories):
            assert np.isfinite(ends).all()


def test_a_sample_is_flat_and_holds_the_constants(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, {"actor_lr": {"min": 0.0001, "max": 0.01}, "population_size": {"value": 6}})
    values = sweep.space.sample(np.random.default_rng(0))
    assert values["evolution.population_size"] == 6
    assert 0.0001 <= values["ddpg.actor_lr"] <= 0.01
    assert config_of(Config(), values).ddpg.actor_lr == values["ddpg.actor_lr"]


def test_a_law_without_ends_is_drawn_again_until_the_field_takes_it(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, {"noise_scale": {"distribution": "normal", "mu": 0.1, "sigma": 0.1}})
    drawn = [sweep.space.sample(np.random.default_rng(seed))["ddpg.noise_scale"] for seed in range(200)]
    assert min(drawn) >= 0


def test_the_grid_is_the_full_product_in_the_order_of_the_file(tmp_path: Path) -> None:
    parameters = {
        "tau": {"values": [0.1, 0.2]},
        "batch_size": {"min": 2, "max": 4},
        "noise_scale": {"distribution": "q_uniform", "min": 0.0, "max": 0.4, "q": 0.2},
        "population_size": {"value": 6},
    }
    space = sweep_of(tmp_path, parameters, method="grid").space
    grid = list(space.grid())
    assert space.size() == len(grid) == 12
    assert [(v["ddpg.tau"], v["ddpg.batch_size"], v["ddpg.noise_scale"]) for v in grid[:3]] == [
        (0.1, 2, 0.0),
        (0.1, 2, 0.2),
        (0.1, 3, 0.0),
    ]
    assert grid[-1]["ddpg.tau"] == 0.2
    assert {v["evolution.population_size"] for v in grid} == {6}


def test_size_is_none_where_no_list_ends(tmp_path: Path) -> None:
    assert sweep_of(tmp_path, {"tau": {"min": 0.1, "max": 0.2}}).space.size() is None


def test_the_middle() -> None:
    middle = SweepFile.read(SHIPPED).space.middle()
    assert middle["ddpg.actor_lr"] == pytest.approx((0.00001 * 0.0005) ** 0.5)
    assert middle["ddpg.tau"] == pytest.approx(0.0055)
    assert middle["rules.max_holding_period"] == 20
    assert middle["run.num_generations"] == 10


def test_corners_are_all_combinations_of_extremes() -> None:
    space = Space(
        (
            Parameter("tau", "ddpg.tau", Uniform(0.1, 0.2)),
            Parameter("batch_size", "ddpg.batch_size", Categories((2, 4, 8))),
            Parameter("fill", "rules.fill", Categories(("next_open", "close"))),
        ),
        {},
    )
    corners = [tuple(values.values()) for values in space.corners()]
    assert len(corners) == len(set(corners)) == 8
    assert {corner[1] for corner in corners} == {2, 8}


def test_a_corner_that_makes_no_config_is_named() -> None:
    space = SweepFile.read(SHIPPED).space
    space.check(Config())
    with pytest.raises(ConfigError, match=r"settlement_days is 25.*max_holding_period 30"):
        space.check(Config(slices=SlicesConfig(settlement_days=25)))


def test_very_many_corners_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tune.space.MOST_CORNERS", 100)
    corners = list(SweepFile.read(SHIPPED).space.corners())
    assert len(corners) == 100
    assert {values["rules.max_holding_period"] for values in corners} == {10, 30}


def test_the_config_of_a_wandb_run_in_every_form() -> None:
    assert values_of({"actor_lr": 0.1, "rules.fill": "close", "evolution": {"population_size": 4}}) == {
        "ddpg.actor_lr": 0.1,
        "rules.fill": "close",
        "evolution.population_size": 4,
    }
    with pytest.raises(ConfigError, match="did you mean actor_lr"):
        values_of({"actor_Ir": 0.1})
