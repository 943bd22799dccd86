"""The fields of the trainer's config as parameters of a sweep: their names, and which values they take."""

from typing import Any

from pydantic import ValidationError

from eigen2.config import Config, config_from_dict
from eigen2.config.loading import SECTION_OF
from eigen2.errors import ConfigError, brief

DEFAULTS = Config()
SWEEP_TRIALS = "run.sweep_trials"
COMBINED_SCORE = "tracking.combined_score"
# what a sweep decides for its trials itself
SET_BY_THE_SWEEP = frozenset(
    {
        "run.name",
        "run.runs_dir",
        "resources.address",
        "resources.num_cpus",
        "resources.dashboard",
        "checkpoint.storage",
        "tracking.wandb_mode",
        "tracking.wandb_project",
        "tracking.wandb_entity",
        "tracking.wandb_group",
        "tracking.progress",
    }
)


def field_named(name: str, where: str) -> str:
    """The dotted name (`ddpg.actor_lr`) of a field, plain or dotted.

    where: what an error says first. Raises ConfigError with the nearest right name, or where no sweep can vary it.
    """
    config_name_is_known(name, where)
    plain = name.rpartition(".")[2]
    if plain not in SECTION_OF:
        raise ConfigError(f"{where}: {name} is a section of the config; write its fields under {name}: parameters:")
    field = f"{SECTION_OF[plain]}.{plain}"
    if field in SET_BY_THE_SWEEP:
        raise ConfigError(f"{where}: {name} can't be a parameter: the sweep decides it for each trial")
    return field


def config_name_is_known(name: str, where: str) -> None:
    """Raise ConfigError, with the nearest right name, for a name that is no field and no section."""
    try:
        config_from_dict({name: None}, where)
    except ConfigError as error:
        if not isinstance(error.__cause__, ValidationError):
            raise


def checked(field: str, value: Any, where: str) -> Any:
    """A value as the field holds it: the number of a text, a list for several.

    Raises ConfigError naming the field, the value and the bound.
    """
    section, _, plain = field.partition(".")
    try:
        held = type(getattr(DEFAULTS, section)).model_validate({plain: value})
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        raise ConfigError(f"{where}: {field} can't be {brief(value)}: {message[0].lower()}{message[1:]}") from error
    value = getattr(held, plain)
    return list(value) if isinstance(value, tuple) else value


def holds_floats(field: str) -> bool:
    """Whether a field holds a number that may have a fraction."""
    section, _, plain = field.partition(".")
    return type(getattr(DEFAULTS, section)).model_fields[plain].annotation in (float, float | None)


def fits(field: str, value: Any) -> bool:
    """Whether a field takes a value."""
    try:
        checked(field, value, "")
    except ConfigError:
        return False
    return True
