"""A small run as it lies on the disk: trained, examined, and read for its page."""

import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from eigen2.cli.evaluate import examine_run
from eigen2.cli.report import record_of
from eigen2.config import dump_config
from eigen2.market.market import Market
from eigen2.report.records import RunRecord
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import LocalRuntime, Share
from eigen2.training.session import train
from tests.training.small import MARKET, make_session, small_config


def named(*columns: str) -> Market:
    """The small market with other names for its columns."""
    return replace(MARKET, columns=columns)


def examined_run(path: Path, market: Market = MARKET, data_report: str = "nothing found\n") -> RunFolder:
    """Train and examine a run in a folder."""
    config, folder = small_config(), RunFolder(path)
    path.mkdir(parents=True)
    folder.config.write_text(dump_config(config), encoding="utf-8")
    folder.data_report.write_text(data_report, encoding="utf-8")
    train(config, market, folder, LocalRuntime(), Share, make_session(config, folder, 0))
    examine_run(folder, config, market, Console(file=io.StringIO()))
    return folder


def record(path: Path, market: Market = MARKET) -> RunRecord:
    """A run of the small config as its page sees it."""
    return record_of(examined_run(path, market), market)
