"""The configuration: every value of a run, with its unit and range, frozen once read."""

from eigen2.config.loading import config_from_dict, dump_config, load_config
from eigen2.config.schema import (
    AgentConfig,
    CheckpointConfig,
    Config,
    DataConfig,
    DDPGConfig,
    EvolutionConfig,
    FeaturesConfig,
    ReplayConfig,
    ResourcesConfig,
    RulesConfig,
    RunConfig,
    SlicesConfig,
    SplitsConfig,
    TrackingConfig,
)

__all__ = [
    "AgentConfig",
    "CheckpointConfig",
    "Config",
    "DDPGConfig",
    "DataConfig",
    "EvolutionConfig",
    "FeaturesConfig",
    "ReplayConfig",
    "ResourcesConfig",
    "RulesConfig",
    "RunConfig",
    "SlicesConfig",
    "SplitsConfig",
    "TrackingConfig",
    "config_from_dict",
    "dump_config",
    "load_config",
]
