"""What a folder's config may not decide unasked."""

import pytest

from eigen2.config import Config, config_from_dict
from eigen2.config.trust import WITHHELD, require_asked_for, withhold
from eigen2.errors import ConfigError

HOSTILE = {
    "allow_pickle": True,
    "address": "10.6.6.6:6379",
    "storage": "s3://theirs/runs",
    "wandb_entity": "them",
    "wandb_mode": "online",
}


def test_whatever_opens_the_machine_is_withheld_by_name() -> None:
    config, withheld = withhold(config_from_dict({**HOSTILE, "tau": 0.1}, "the test"))
    assert withheld == tuple(WITHHELD)
    assert config == config_from_dict({"tau": 0.1}, "the test")


@pytest.mark.parametrize(
    "harmless", [{}, {"wandb_mode": "offline"}, {"wandb_mode": "disabled"}, {"address": "auto"}, {"wandb_project": "x"}]
)
def test_what_opens_nothing_is_left_alone(harmless: dict[str, str]) -> None:
    config = config_from_dict(harmless, "the test")
    assert withhold(config) == (config, ())


@pytest.mark.parametrize("field", WITHHELD)
def test_a_field_is_asked_for_by_name_or_by_trust(field: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"RUN: its config sets {field}, which .*--set {field}=\w+ for none.*--trust"
    ):
        require_asked_for([field], [other for other in WITHHELD if other != field], "RUN")
    require_asked_for([field], [field], "RUN")


def test_every_withheld_field_is_one() -> None:
    for field in WITHHELD:
        section, _, name = field.partition(".")
        assert hasattr(getattr(Config(), section), name)
