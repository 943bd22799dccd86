"""Sweep files: what W&B's schema says is read with its meaning; what is wrong is named with its line."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from eigen2.errors import ConfigError
from tests.tune.files import HEAD, sweep_of, written
from tune.hyperband import Hyperband
from tune.laws import Beta, Categories, Integers, LogUniform, Normal, Quantised, Uniform
from tune.sweep_file import Metric, SweepFile

CONFIGS = Path(__file__).parents[2] / "configs"
SPACE = {  # what the shipped files must search
    "actor_lr": LogUniform(0.00001, 0.0005),
    "critic_lr": LogUniform(0.0001, 0.001),
    "gamma": Categories((0.95, 0.97, 0.99, 0.995)),
    "tau": Uniform(0.001, 0.01),
    "gradient_steps_per_generation": Categories((16, 32, 64, 96)),
    "gradient_accumulation_steps": Categories((4, 6, 8, 12)),
    "batch_size": Categories((2, 4, 8)),
    "noise_scale": Uniform(0.05, 0.2),
    "noise_decay": Categories((0.9995, 0.9997, 0.9999)),
    "mutation_rate": Uniform(0.05, 0.2),
    "mutation_std": LogUniform(0.005, 0.05),
    "loss_penalty_multiplier": Categories((5.0, 10.0, 15.0, 20.0)),
    "inaction_penalty": Categories((0.5, 1.0, 2.0, 3.0)),
    "max_holding_period": Categories((10, 15, 20, 25, 30)),
}


@pytest.mark.parametrize(
    ("name", "metric"), [("sweep_config", "fitness/best_ever"), ("sweep_validation", "validation/sharpe_ratio")]
)
def test_the_shipped_files(name: str, metric: str) -> None:
    sweep = SweepFile.read(CONFIGS / f"{name}.yaml")
    assert {parameter.name: parameter.law for parameter in sweep.space.parameters} == SPACE
    assert sweep.space.constants == {
        "run.num_generations": 10,
        "evolution.population_size": 8,
        "replay.buffer_size": 25000,
        "replay.buffer_warmup": 5000,
    }
    assert (sweep.method, sweep.metric) == ("bayes", Metric(metric, "maximize"))
    assert sweep.early_terminate == Hyperband(min_iter=5, eta=2, s=3)
    assert (sweep.project, sweep.entity) == ("eigen2-self", "eigen2-self")
    assert sweep.notes == (), "nothing is amiss in the project's own files"


def test_the_shipped_files_hold_no_number_that_yaml_takes_for_text() -> None:
    for path in CONFIGS.glob("sweep_*.yaml"):
        found = yaml.safe_load(path.read_text())["parameters"]
        given = [value for spec in found.values() for key, value in spec.items() if key != "distribution"]
        assert all(
            isinstance(one, int | float) for value in given for one in (value if isinstance(value, list) else [value])
        )


@pytest.mark.parametrize(
    ("name", "spec", "law"),
    [
        ("tau", {"values": [0.1, 0.2]}, Categories((0.1, 0.2))),
        ("tau", {"values": [0.1, 0.2, 0.3], "probabilities": [0.5, 0, 0.5]}, Categories((0.1, 0.3), (0.5, 0.5))),
        (
            "tau",
            {"distribution": "categorical_w_probabilities", "values": [0.1], "probabilities": [1]},
            Categories((0.1,), (1,)),
        ),
        ("batch_size", {"min": 2, "max": 8}, Integers(2, 8)),
        ("cost_bps", {"min": 0.5, "max": 2}, Uniform(0.5, 2)),
        ("cost_bps", {"min": 1, "max": 2.0}, Uniform(1, 2.0)),
        ("cost_bps", {"distribution": "uniform", "min": 1, "max": 2}, Uniform(1, 2)),
        ("cost_bps", {"distribution": "q_uniform", "min": 1, "max": 9}, Quantised(Uniform(1, 9), 1.0)),
        ("batch_size", {"distribution": "q_uniform", "min": 4, "max": 64, "q": 4}, Quantised(Uniform(4, 64), 4)),
        ("tau", {"distribution": "log_uniform_values", "min": 0.01, "max": 0.1}, LogUniform(0.01, 0.1)),
        ("tau", {"distribution": "inv_log_uniform_values", "min": 0.01, "max": 0.1}, LogUniform(0.01, 0.1)),
        (
            "batch_size",
            {"distribution": "q_log_uniform_values", "min": 4, "max": 64, "q": 4},
            Quantised(LogUniform(4, 64), 4),
        ),
        ("tau", {"distribution": "normal", "mu": 0.5, "sigma": 0.1}, Normal(0.5, 0.1)),
        ("cost_bps", {"distribution": "log_normal"}, Normal(0.0, 1.0, of_log=True)),
        ("cost_bps", {"distribution": "q_log_normal", "q": 0.5}, Quantised(Normal(0.0, 1.0, of_log=True), 0.5)),
        ("batch_size", {"distribution": "q_normal", "mu": 50, "sigma": 9, "q": 1}, Quantised(Normal(50, 9), 1)),
        ("gamma", {"distribution": "beta", "a": 9}, Beta(9, 1.0)),
        ("mutation_rate", {"distribution": "q_beta", "q": 0.1}, Quantised(Beta(1.0, 1.0), 0.1)),
        ("features", {"values": [["rsi"], ["rsi", "trix"]]}, Categories((["rsi"], ["rsi", "trix"]))),
    ],
)
def test_every_distribution(tmp_path: Path, name: str, spec: dict[str, Any], law: object) -> None:
    (parameter,) = sweep_of(tmp_path, {name: spec}).space.parameters
    assert parameter.law == law


def test_any_field_by_plain_dotted_or_nested_name(tmp_path: Path) -> None:
    nested = {"parameters": {"max_holding_period": {"values": [5, 10]}, "fill": {"value": "close"}}}
    space = sweep_of(
        tmp_path, {"weight_decay": {"min": 0.0, "max": 0.1}, "ddpg.tau": {"value": 0.1}, "rules": nested}
    ).space
    assert [parameter.field for parameter in space.parameters] == ["ddpg.weight_decay", "rules.max_holding_period"]
    assert [parameter.name for parameter in space.parameters] == ["weight_decay", "rules.max_holding_period"]
    assert space.constants == {"ddpg.tau": 0.1, "rules.fill": "close"}


def test_text_that_is_meant_as_a_number_is_read_as_one_and_said(tmp_path: Path) -> None:
    text = """
method: random
program: train.py
metric: {name: fitness/best_ever, goal: maximize}
parameters:
  actor_lr:
    distribution: log_uniform_values
    min: 1e-5
    max: 5e-4
  critic_lr:
    values: [1e-4, 0.001]
"""
    sweep = SweepFile.read(written(tmp_path, text))
    assert [parameter.law for parameter in sweep.space.parameters] == [
        LogUniform(0.00001, 0.0005),
        Categories((0.0001, 0.001)),
    ]
    assert sweep.notes == (
        "line 8: actor_lr.min '1e-5' is text in YAML 1.1; read as 1e-05",
        "line 9: actor_lr.max '5e-4' is text in YAML 1.1; read as 0.0005",
        "line 11: critic_lr.values '1e-4' is text in YAML 1.1; read as 0.0001",
    )


def test_text_in_exponent_form_is_a_whole_number_where_the_field_holds_one(tmp_path: Path) -> None:
    specs = {"buffer_size": {"values": ["3e6", 5000]}, "batch_size": {"min": "1e1", "max": "1e2"}}
    sweep = sweep_of(tmp_path, {**specs, "buffer_warmup": {"value": "1e3"}})
    assert [parameter.law for parameter in sweep.space.parameters] == [Categories((3_000_000, 5000)), Integers(10, 100)]
    assert sweep.space.constants == {"replay.buffer_warmup": 1000}
    assert [note.partition(": ")[2] for note in sweep.notes] == [
        "buffer_size.values '3e6' is text in YAML 1.1; read as 3000000",
        "batch_size.min '1e1' is text in YAML 1.1; read as 10",
        "batch_size.max '1e2' is text in YAML 1.1; read as 100",
        "buffer_warmup.value '1e3' is text in YAML 1.1; read as 1000",
    ]


def test_a_grid_tries_a_repeated_value_once_and_says_so(tmp_path: Path) -> None:
    parameters = {"weight_decay": {"values": [0.05, 0.00005, 0.00005]}, "batch_size": {"values": [5, 20]}}
    sweep = sweep_of(tmp_path, parameters, method="grid")
    grid = [(values["ddpg.weight_decay"], values["ddpg.batch_size"]) for values in sweep.space.grid()]
    assert grid == [(0.05, 5), (0.05, 20), (0.00005, 5), (0.00005, 20)]
    assert sweep.space.size() == 4
    assert sweep.notes == ("line 8: weight_decay lists 5e-05 more than once; a grid tries each value once",)
    drawn = sweep_of(tmp_path, parameters, method="random")
    assert drawn.notes == (), "drawn at random, a repeated value is drawn more often"
    assert drawn.space.parameters[0].law.quantile(0.5) == 0.00005


def test_whole_ends_on_a_field_with_fractions_are_drawn_whole_and_said(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, {"input_noise": {"min": 0, "max": 1}, "noise_scale": {"min": 0.0, "max": 1.0}})
    assert [parameter.law for parameter in sweep.space.parameters] == [Integers(0, 1), Uniform(0.0, 1.0)]
    assert sweep.notes == (
        "line 7: input_noise has a whole min and max, so only whole numbers from 0 to 1 are drawn, as W&B does; "
        "for all between write distribution: uniform",
    )
    said = sweep_of(tmp_path, {"input_noise": {"min": 0, "max": 1, "distribution": "int_uniform"}})
    assert said.notes == (), "asked for by name"


def test_a_command_may_hold_numbers(tmp_path: Path) -> None:
    command = ["${env}", "python", "train.py", "--epochs", 40, "--delta", 0.002, "${args}"]
    assert sweep_of(tmp_path, {"tau": {"value": 0.1}}, command=command).method == "random"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("actor_Ir: {value: 0.1}", "line 4: unknown field actor_Ir; did you mean actor_lr?"),
        (
            "rules: {parameters: {max_holding: {value: 1}}}",
            "line 4: unknown field rules.max_holding; did you mean rules.max_hol",
        ),
        ("rules: {value: 1}", "line 4: rules is a section of the config"),
        ("run.name: {value: a}", "line 4: run.name can't be a parameter"),
        ("tau: {min: 0.0, max: 0.1}", "line 4: ddpg.tau can't be 0.0: input should be greater than 0"),
        ("tau: {min: 0.1, max: 1.5}", "line 4: ddpg.tau can't be 1.5: input should be less than or equal to 1"),
        ("tau: {values: [0.1, 2]}", "line 4: ddpg.tau can't be 2: "),
        ("tau: {value: fast}", "line 4: ddpg.tau can't be 'fast': "),
        (
            "tau: {distribution: uniforn, min: 0.1, max: 0.2}",
            "line 4: unknown distribution uniforn; did you mean uniform?",
        ),
        ("tau: {mim: 0.1, max: 0.2}", "line 4: unknown key of tau: mim; did you mean min?"),
        ("tau: {distribution: uniform, min: 0.1, max: 0.2, q: 1}", "tau has q, which is no key of uniform"),
        ("tau: {distribution: uniform, min: 0.1}", "tau follows uniform, which needs max"),
        ("tau: {distribution: categorical, values: [0.1], probabilities: [1]}", "leave the distribution out"),
        ("tau: {values: [0.1, 0.2], probabilities: [1]}", "2 values, so it needs as many probabilities"),
        ("tau: {values: [0.1, 0.2], probabilities: [0.5, 0.6]}", "whose sum 1.1 is not 1"),
        ("tau: {values: []}", "no list of values"),
        ("tau: {min: 0.2, max: 0.1}", "min 0.2, which is not below max 0.1"),
        ("tau: {distribution: log_uniform_values, min: 0, max: 0.1}", "begins above 0"),
        ("tau: {distribution: normal, sigma: 0}", "sigma 0, which must be above 0"),
        ("tau: {distribution: normal, mu: soon}", "has mu 'soon', which is no number"),
        ("tau: {distribution: normal, mu: 7, sigma: 0.1}", "takes only 0% of what normal gives"),
        ("batch_size: {min: 2.0, max: 8.0}", "batch_size takes no fractions; use int_uniform"),
        (
            "actor_lr: {distribution: log_uniform, min: -11.5129, max: -7.6009}",
            "W&B refuses it today. Write log_uniform_values with min 1.00003e-05 and max 0.000500",
        ),
        (
            "tau: {distribution: inv_log_uniform, min: 1, max: 2}",
            "inv_log_uniform_values with min 0.135335 and max 0.3678",
        ),
        ("tau: 0.1", "tau must hold values, value, or min and max, not 0.1"),
        ("tau: {value: 0.1}\n  ddpg.tau: {value: 0.1}", "line 5: ddpg.tau is given twice"),
        ("tau: {value: 0.1}\n  tau: {value: 0.1}", "line 5: tau is given twice"),
        (
            "combined_score: {value: 0.5 * fitness/best_evr}",
            "names fitness/best_evr, which is no metric; did you mean fitness/",
        ),
        ("combined_score: {value: __import__('os')}", "is no expression"),
        ("tau: {value: !!python/object/apply:os.getcwd []}", "not a YAML file of plain values"),
    ],
)
def test_a_wrong_parameter_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    head = "method: random\nmetric: {name: fitness/best_ever, goal: maximize}\nparameters:\n  "
    with pytest.raises(ConfigError) as error:
        SweepFile.read(written(tmp_path, head + text + "\n"))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"method": "custom"}, "method custom has no meaning here"),
        ({"method": "bayess"}, "unknown method bayess; did you mean bayes?"),
        ({"metric": {"name": "fitness/bestever"}}, "unknown metric fitness/bestever; did you mean fitness/best_ever?"),
        ({"metric": {"name": "fitness/mean", "goal": "maximise"}}, "unknown goal maximise; did you mean maximize?"),
        ({"metric": {"name": "fitness/mean", "gaol": "maximize"}}, "unknown key of metric: gaol; did you mean goal?"),
        ({"metrics": []}, "several metrics need method: custom"),
        ({"scheduler": {}}, "has no meaning here"),
        ({"run_caps": 5}, "unknown key run_caps; did you mean run_cap?"),
        ({"run_cap": 0}, "run_cap must be a whole number above 0"),
        ({"early_terminate": {"type": "hyperband", "max_iter": 9}}, "max_iter needs s"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 5, "s": 2.0}}, "s must be a whole number, not 2.0"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 5, "eta": 1}}, "eta is 1: it must be above 1"),
        ({"early_terminate": {"type": "asha", "min_iter": 5}}, "must have type: hyperband"),
        ({"command": "python train.py"}, "command must be a list of texts or numbers"),
        ({"command": ["python", ["train.py"]]}, "command must be a list of texts or numbers"),
        ({"method": "grid"}, "method grid: tau can't be in a grid"),
    ],
)
def test_a_wrong_key_is_refused(tmp_path: Path, others: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        sweep_of(tmp_path, {"tau": {"min": 0.1, "max": 0.2}}, **others)
    assert said in str(error.value)


def test_everything_else_of_the_schema_is_taken(tmp_path: Path) -> None:
    sweep = sweep_of(
        tmp_path,
        {"tau": {"min": 0.1, "max": 0.2}, "combined_score": {"value": "fitness/best_ever - 2 * final/win_rate"}},
        name="A sweep / of mine",
        description="tries",
        run_cap=7,
        metric={"name": "combined_score", "goal": "minimize", "target": -3, "impute": "best"},
        early_terminate={"type": "hyperband", "max_iter": 27, "s": 2, "strict": False},
        command=["${env}", "python", "-m", "tune.agent"],
        controller={"type": "local"},
        apiVersion="1",
        kind="sweep",
    )
    assert (sweep.name, sweep.folder_name, sweep.run_cap) == ("A sweep / of mine", "A-sweep-of-mine", 7)
    assert sweep.metric == Metric("combined_score", "minimize", -3.0)
    assert sweep.early_terminate == Hyperband(max_iter=27, s=2, strict=False)
    assert sweep.space.constants == {"tracking.combined_score": "fitness/best_ever - 2 * final/win_rate"}
    assert sweep.notes == ()


def test_what_a_user_should_know_is_said(tmp_path: Path) -> None:
    head = {key: value for key, value in HEAD.items() if key == "method"}
    text = yaml.safe_dump({**head, "parameters": {"noise_scale": {"distribution": "normal", "mu": 0.2, "sigma": 0.2}}})
    notes = SweepFile.read(written(tmp_path, text)).notes
    assert notes == (
        "no metric is named, so fitness/best_ever is maximized",
        "line 3: about 16.0% of what normal gives lies outside the range of noise_scale; such draws are made again",
        "there is no command, so wandb agent would not know what to start; tune.sweep needs none",
    )


def test_a_metric_without_a_goal_is_minimized_as_wandb_does(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, {"tau": {"value": 0.1}}, metric={"name": "fitness/mean"})
    assert sweep.metric.goal == "minimize"
    assert sweep.notes == ("the metric fitness/mean has no goal, so it is minimized, as W&B does",)


@pytest.mark.parametrize(
    "text", ["", "- 1", "method: [", "&a [*a]", "method: random\nparameters: &p\n  rules: {parameters: *p}"]
)
def test_no_text_is_taken_for_a_sweep(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"sweep\.yaml"):
        SweepFile.read(written(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        SweepFile.read(tmp_path / "none.yaml")


@pytest.mark.parametrize("levels", [9, 4])
def test_aliases_that_stand_for_very_many_values_make_a_short_message(tmp_path: Path, levels: int) -> None:
    lists = "".join(f"    &a{k} [{', '.join([f'*a{k - 1}' if k else '0.1'] * 9)}],\n" for k in range(levels))
    with pytest.raises(ConfigError) as caught:
        SweepFile.read(written(tmp_path, f"method: random\nparameters:\n  tau:\n    values: [\n{lists}    ]\n"))
    assert ("its aliases stand for more than 100,000 values" in str(caught.value)) == (levels == 9)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("run_cap: 5\nparameters: {tau: {min: HUGE, max: 1}}", "tau has min 999"),
        ("metric: {name: fitness/max, target: HUGE}\nparameters: {tau: {value: 0.1}}", "target must be a number"),
        ("early_terminate: {type: hyperband, min_iter: HUGE}\nparameters: {tau: {value: 0.1}}", "at most 1,000,000"),
        ("early_terminate: {type: hyperband, min_iter: 1, eta: HUGE}\nparameters: {tau: {value: 0.1}}", "eta is 999"),
        ("early_terminate: {type: hyperband, min_iter: 1, eta: .nan}\nparameters: {tau: {value: 0.1}}", "eta is nan"),
    ],
)
def test_a_number_of_400_digits_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        SweepFile.read(written(tmp_path, "method: random\n" + text.replace("HUGE", "9" * 400)))
