"""A training on the joined cluster, from a config to an examined champion; commands that train go through here."""

from rich.console import Console

from eigen2.cloud.cost import Budget, Ledger, Meter
from eigen2.cloud.places import cost_file
from eigen2.config import Config
from eigen2.files import write_atomically, writing_into
from eigen2.market.cleaning import DataReport
from eigen2.market.market import Market
from eigen2.training.checkpoint import generations_saved, rewind
from eigen2.training.resume import Resume
from eigen2.training.room import Room
from eigen2.training.run_folder import RunFolder, with_absolute_source
from eigen2.training.runtime import RayRuntime
from eigen2.training.session import Session, sinks_of, train
from eigen2.training.storage import require_free
from eigen2.training.traffic import bytes_a_generation


def train_run(
    config: Config,
    market_and_report: tuple[Market, DataReport],
    resume: Resume | None,
    console: Console,
    budget: Budget | None = None,
) -> RunFolder:
    """Train what is left of a run on the joined cluster, then examine its champion; returns its folder.

    Raises BudgetSpentError at the first checkpoint after the budget is spent.
    """
    if config.checkpoint.storage:
        name, own = (resume.folder.name, resume.folder.identity().encode()) if resume else (config.run.name, None)
        if name:  # one made from date and time is nobody else's
            require_free(config.checkpoint.storage, name, own)
    folder = resume.folder if resume else RunFolder.create(config)
    with folder.held():
        _train(config, market_and_report, folder, resume, console, budget)
    return folder


def _train(
    config: Config,
    market_and_report: tuple[Market, DataReport],
    folder: RunFolder,
    resume: Resume | None,
    console: Console,
    budget: Budget | None,
) -> None:
    market, report = market_and_report
    if resume:
        folder.keep_config(with_absolute_source(config))
    with writing_into(folder.path):
        write_atomically(folder.data_report, report.to_text().encode())
    generation = resume.generation if resume else 0
    rewind(folder.checkpoints, generation)
    _greet(console, config, folder, generation)
    room = Room(config.evolution.population_size, config.resources)
    _say_where_members_live(config, market, room, console)
    meter, between = Meter(Ledger(cost_file())), budget.check if budget else lambda: None
    session = Session(config, folder, generation, {}, console, meter.read)
    try:
        trainer = train(
            config,
            market,
            folder,
            RayRuntime(),
            room.fit,
            session,
            generation,
            between,
            lambda: sinks_of(config, folder, resume is not None),
        )
        session.end_bar()
        from eigen2.cli.evaluate import examine_run  # not above: what draws need not load before training

        summary = examine_run(folder, config, market, Console())
        trainer.flush()
        session.finish(summary, folder.champion)
    except BaseException:
        session.end_bar()
        _say_how_to_go_on(console, folder)  # at once: to end W&B's run and Ray takes seconds
        session.finish({}, None)
        raise


def _say_where_members_live(config: Config, market: Market, room: Room, console: Console) -> None:
    together = room.fit().together
    if together > 1:
        console.print(f"members share cores: up to {together} of them live in one actor", highlight=False)
    if room.away:
        mb = bytes_a_generation(config, market, room.away) / 1e6
        console.print(f"{room.away} members live on other nodes: up to {mb:.1f} MB a generation between them and here")


def _greet(console: Console, config: Config, folder: RunFolder, generation: int) -> None:
    size, total = config.evolution.population_size, config.run.num_generations
    after = f", going on after generation {generation}" if generation else ""
    console.print(f"run {folder.name}: {size} members, {total} generations{after}", highlight=False)


def _say_how_to_go_on(console: Console, folder: RunFolder) -> None:
    saved = generations_saved(folder.checkpoints)
    kept = f"the last checkpoint is after generation {saved[-1]}" if saved else "there is no checkpoint yet"
    console.print(f"stopping: {kept}; go on with:", highlight=False)
    console.print(f"  eigen2 train --resume {folder.path}", highlight=False, markup=False, soft_wrap=True)
