"""The schema: every field described and frozen, and the rules that bind fields together."""

import re
from collections import Counter

import pytest
from pydantic import ValidationError

from eigen2.config import Config, load_config
from eigen2.errors import ConfigError

SECTIONS = {name: type(info.default) for name, info in Config.model_fields.items()}
FIELDS = [(section, field) for section, kind in SECTIONS.items() for field in kind.model_fields]


@pytest.mark.parametrize(("section", "field"), FIELDS)
def test_every_field_has_a_description(section: str, field: str) -> None:
    assert SECTIONS[section].model_fields[field].description


def test_field_names_are_unique_across_sections() -> None:
    counts = Counter(field for _, field in FIELDS)
    assert [field for field, count in counts.items() if count > 1] == []


def test_no_field_is_mistaken_for_a_section() -> None:
    """`features` alone is both; as a plain name it must mean the section or the field in every place alike."""
    assert {field for _, field in FIELDS} & SECTIONS.keys() <= {"features"}


@pytest.mark.parametrize(("section", "field"), FIELDS)
def test_a_config_is_frozen(section: str, field: str) -> None:
    config = Config()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(getattr(config, section), field, getattr(getattr(config, section), field))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["min_target_pct=60"], "rules.min_target_pct is 60, above rules.max_target_pct 50"),
        (["settlement_days=20"], "max_holding_period 20 with fill next_open needs at least 21"),
        (["settlement_days=19", "fill=close"], "max_holding_period 20 with fill close needs at least 20"),
        (["worst_slices=6"], "slices.worst_slices is 6, above slices.training_slices 5"),
        (["validation_days=145"], "splits.validation_days is 145, shorter than a slice"),
        (["holdout_days=145"], "splits.holdout_days is 145, shorter than a slice"),
        (["trading_days=240"], "slices.trading_days 240 + slices.settlement_days 21 = 261"),
        (["buffer_warmup=6000", "buffer_size=5000"], "replay.buffer_warmup is 6000, above replay.buffer_size 5000"),
        (
            ["buffer_size=4999"],
            "replay.buffer_size is 4999, but one generation has 5000 transitions (evolution.population_size 8 x "
            "slices.training_slices 5 x slices.trading_days 125): set it to at least 5000, or leave it out",
        ),
        (["batch_size=20000"], "gradient_accumulation_steps is 40000, above replay.buffer_size 25000"),
    ],
)
def test_fields_that_do_not_fit_together_are_named(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        load_config(None, overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        ["settlement_days=21"],
        ["settlement_days=20", "fill=close"],
        ["worst_slices=5"],
        ["validation_days=146", "holdout_days=146"],
        ["buffer_warmup=5000", "buffer_size=5000"],
        ["min_target_pct=50"],
    ],
)
def test_the_bounds_themselves_are_allowed(overrides: list[str]) -> None:
    load_config(None, overrides)


def test_the_replay_buffer_holds_at_least_a_generation_by_default() -> None:
    assert Config().buffer_size == 25_000
    assert load_config(None, ["training_slices=28"]).buffer_size == 8 * 28 * 125
    assert load_config(None, ["population_size=128", "training_slices=28"]).buffer_size == 128 * 28 * 125
    assert load_config(None, ["buffer_size=6000"]).buffer_size == 6_000


def test_settlement_is_as_long_as_a_position_may_need() -> None:
    assert Config().settlement_days == 21
    assert load_config(None, ["fill=close"]).settlement_days == 20
    assert load_config(None, ["settlement_days=30"]).settlement_days == 30


@pytest.mark.parametrize("given", ["%d/%m/%Y", "%m/%d/%y", "%d.%m.%Y %H:%M", "%Y%m%d", "%b %d, %Y"])
def test_forms_of_dates(given: str) -> None:
    assert load_config(None, [f"data.date_format={given}"]).data.date_format == given


@pytest.mark.parametrize("given", ["dd/mm/yyyy", "%d/%m", "%Y-%m", "%d/%m/%Y %z", "%", "%Q"])
def test_a_form_that_names_no_day_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"data.date_format is '{given}': must name year, month and day")):
        load_config(None, [f"data.date_format={given}"])
