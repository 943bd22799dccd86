"""`eigen2 evaluate --walk-forward N` and `--seeds N`: judge a config, not one run, by training it anew.

Each training is a run with a folder of its own inside the study's. A study that was stopped goes on where it was: runs
that are done are taken as they are, one that is not is resumed.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from eigen2.cli.study_results import tell_seeds, tell_windows
from eigen2.cli.train import join_cluster, load_checked
from eigen2.cli.training import train_run
from eigen2.config import Config
from eigen2.config.loading import with_overrides
from eigen2.config.trust import load_named_config, require_asked_for
from eigen2.errors import ConfigError, RunError
from eigen2.evaluation.walk_forward import window_configs
from eigen2.files import require_own_files, writing_into
from eigen2.training.provenance import require_same, with_data_found
from eigen2.training.resume import Resume
from eigen2.training.run_folder import RunFolder

# what a run that is taken as it is may differ in
IMMATERIAL: dict[str, Any] = {
    "run": {"runs_dir"},
    "data": {"source", "allow_pickle"},  # its market is compared itself
    "resources": True,
    "tracking": True,
    "checkpoint": True,
}


def run_study(args: argparse.Namespace) -> int:
    """Train the windows or the seeds that the arguments ask for and tell what came of them; returns 0."""
    console = Console(stderr=True)
    if args.data or args.other_data or args.other_code:
        raise ConfigError("--data, --other-data and --other-code are for one run; a study takes --set data.source=FILE")
    config, place = _config_and_place(Path(args.run), args.set, args.trust)
    if args.walk_forward:
        market, _ = load_checked(config)
        folder = place.with_name(f"{place.name}-walk-forward-{args.walk_forward}")
        windows = window_configs(config, market.dates, args.walk_forward)
        names = [f"window_{number}" for number in range(1, len(windows) + 1)]
        runs = _trained(_placed(windows, names, folder), console)
        with writing_into(folder):
            tell_windows(runs, folder, Console())
    else:
        folder = place.with_name(f"{place.name}-seeds-{args.seeds}")
        seeds = [_with(config, "run", seed=config.run.seed + number) for number in range(args.seeds)]
        names = [f"seed_{config.run.seed}" for config in seeds]
        runs = _trained(_placed(seeds, names, folder), console)
        with writing_into(folder):
            tell_seeds(runs, folder, Console())
    Console().print(f"study folder: {folder}", highlight=False)
    return 0


def _config_and_place(path: Path, overrides: Sequence[str], trust: bool) -> tuple[Config, Path]:
    """The config of a run or of a file, and where its run lies or would lie: the study goes beside it."""
    if path.is_dir():
        folder, of_run = RunFolder.open(path, trust)
        config, asked = with_overrides(of_run, overrides)
        require_asked_for(folder.withheld, asked, f"run {path}")
        return with_data_found(folder, config), path.resolve()
    config = load_named_config(path, overrides)
    return config, Path(config.run.runs_dir) / (config.run.name or path.stem)


def _placed(configs: Sequence[Config], names: Sequence[str], folder: Path) -> list[Config]:
    """Configs whose runs lie in the study's folder by these names, and belong together wherever they are told of."""
    placed = []
    for name, config in zip(names, configs, strict=True):
        storage = config.checkpoint.storage
        there = _with(config, "run", name=name, runs_dir=str(folder))
        grouped = _with(there, "tracking", wandb_group=config.tracking.wandb_group or folder.name)
        placed.append(_with(grouped, "checkpoint", storage=storage and f"{storage.rstrip('/')}/{folder.name}"))
    return placed


def _trained(configs: Sequence[Config], console: Console) -> list[RunFolder]:
    """The run folder of each config, trained and examined."""
    markets = [load_checked(config)[0] for config in configs]  # too short, damaged: said before anything is trained
    require_own_files(Path(configs[0].run.runs_dir))
    begun = [_begun(config) for config in configs]
    for resume, market in zip(begun, markets, strict=True):
        if resume:
            require_same(resume.folder, market)
    if not all(resume and _done(resume) for resume in begun):
        join_cluster(configs[0], console)
    folders = []
    for config, resume in zip(configs, begun, strict=True):
        if resume and _done(resume):
            console.print(f"run {config.run.name}: done before, taken as it is", highlight=False)
            folders.append(resume.folder)
        else:
            folders.append(train_run(config, load_checked(config), resume, console))
    return folders


def _begun(config: Config) -> Resume | None:
    """What there is of a config's run. Raises RunError if it was made with another config."""
    path = Path(config.run.runs_dir) / str(config.run.name)
    if not path.exists():
        return None
    resume = Resume.find(str(path))
    there, here = _material(resume.config), _material(config)
    for field in here:
        if there[field] != here[field]:
            raise RunError(
                f"run {path} was made with {field} {there[field]}, this study has {here[field]}; "
                "remove the study's folder, or give the study another --set name=NAME"
            )
    return resume


def _done(resume: Resume) -> bool:
    return resume.folder.evaluation.exists() and resume.generation == resume.config.run.num_generations


def _material(config: Config) -> dict[str, Any]:
    """The fields that decide what a run shows, section.field -> value."""
    sections = config.model_dump(mode="json", exclude=IMMATERIAL)
    return {f"{name}.{field}": value for name, fields in sections.items() for field, value in fields.items()}


def _with(config: Config, section: str, **fields: object) -> Config:
    return config.model_copy(update={section: getattr(config, section).model_copy(update=fields)})
