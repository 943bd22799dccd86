"""What a config that came with a run folder or a sweep folder may not decide unasked: the folder may be anybody's."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from eigen2.config.loading import load_config, overridden
from eigen2.config.schema import Config
from eigen2.errors import ConfigError
from eigen2.ownership import is_owned

PICKLE = "data.allow_pickle"
# field -> what obeying it would do
WITHHELD = {
    PICKLE: "runs code that is in the data file",
    "resources.address": "joins a cluster and shows it this machine's Ray token",
    "checkpoint.storage": "writes to a storage with this machine's credentials",
    "tracking.wandb_entity": "logs to an account of W&B with this machine's key",
    "tracking.wandb_mode": "goes online with this machine's key for W&B",
}
HARMLESS = {  # values beside the defaults
    "resources.address": ("auto",),  # the cluster that this machine is part of
    "tracking.wandb_mode": ("auto", "offline", "disabled"),
}
# the config file of a sweep folder or a run folder -> files that such a folder has beside it
OF_A_FOLDER = {"base.yaml": ("settings.json",), "config.yaml": ("run_id", "provenance.json")}
OPTIONS = {"resources.address": "--address ADDRESS", "checkpoint.storage": "--storage URI"}


def withhold(config: Config, owned: bool = False) -> tuple[Config, tuple[str, ...]]:
    """A folder's config with these fields at their defaults, and the names of those that were not.

    owned: whether the user wrote the config on this machine (see `eigen2.ownership`); then only pickles are withheld,
    since the file that the config names may have come from elsewhere all the same.
    """
    default = Config()
    found = tuple(field for field in fields_withheld(owned) if _value(config, field) not in _harmless(default, field))
    return with_fields(config, {field: _value(default, field) for field in found}), found


def fields_withheld(owned: bool) -> tuple[str, ...]:
    """The fields that a folder may not decide unasked; owned: whether the user made it on this machine."""
    return (PICKLE,) if owned else tuple(WITHHELD)


def load_named_config(path: Path | None, overrides: Iterable[str] = ()) -> Config:
    """The config of a file that the command line names (none: the defaults), with `field=value` overrides on top.

    Raises ConfigError as `load_config` does, and where the file came with somebody else's run folder or sweep folder
    and sets a field that such a folder may not decide unasked.
    """
    overrides = list(overrides)
    config = load_config(path, overrides)
    if path and _came_with_a_folder(path.resolve()):
        asked = overridden(overrides)
        for field in withhold(config)[1]:
            if field not in asked:
                raise ConfigError(
                    f"{path} sets {field}, which {WITHHELD[field]}; it came with a folder that this user did not make "
                    f"on this machine, so it is not obeyed in this: give --set {field}=VALUE yourself "
                    f"(--set {field}={_plain(field)} for none), or use a copy of the file outside the folder"
                )
    return config


def require_asked_for(withheld: Iterable[str], asked: Iterable[str], where: str) -> None:
    """See that the command line decides each field that was withheld. Raises ConfigError naming one it does not."""
    for field in withheld:
        if field not in set(asked):
            option = OPTIONS.get(field, f"--set {field}=VALUE")
            raise ConfigError(
                f"{where}: its config sets {field}, which {WITHHELD[field]}; a folder is not obeyed in this: give "
                f"{option} yourself (--set {field}={_plain(field)} for none), or --trust if the folder is your own"
            )


def with_fields(config: Config, values: Mapping[str, Any]) -> Config:
    """A config with some fields, by dotted name, changed to valid values."""
    for name, value in values.items():
        section, _, field = name.partition(".")
        config = config.model_copy(update={section: getattr(config, section).model_copy(update={field: value})})
    return config


def _came_with_a_folder(path: Path) -> bool:
    """Whether a file is the config of a run folder or a sweep folder that bears no mark of this user."""
    beside = OF_A_FOLDER.get(path.name, ())
    return any(path.with_name(name).exists() for name in beside) and not is_owned(path)


def _harmless(default: Config, field: str) -> tuple[Any, ...]:
    return (_value(default, field), *HARMLESS.get(field, ()))


def _plain(field: str) -> str:
    value = _value(Config(), field)
    return "null" if value is None else str(value).lower()


def _value(config: Config, name: str) -> Any:
    section, _, field = name.partition(".")
    return getattr(getattr(config, section), field)
