"""A run goes on with the market and the code it was made with, wherever its data lie."""

import json
import shutil
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest

from eigen2.config import Config
from eigen2.errors import DataError, RunError
from eigen2.market.market import Market
from eigen2.training import provenance
from eigen2.training.checkpoint import Archive
from eigen2.training.provenance import DECIDING, Provenance, code_digests, recorded, require_same, with_data_found
from eigen2.training.run_folder import RunFolder
from tests.training.small import MARKET, run, small_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of two generations; tests only read it."""
    return run(tmp_path_factory.mktemp("runs") / "run", num_generations=2)


def shortened(market: Market) -> Market:
    """The market of a file that ends a day earlier, its splits moved with the end."""
    splits = market.splits
    moved = replace(
        splits,
        training=replace(splits.training, last=splits.training.last - 1),
        validation=replace(splits.validation, first=splits.validation.first - 1, last=splits.validation.last - 1),
        holdout=replace(splits.holdout, first=splits.holdout.first - 1, last=splits.holdout.last - 1),
    )
    prices = market.prices
    cut = {name: getattr(prices, name)[:-1] for name in ("open", "high", "low", "close", "last_close")}
    return replace(market, dates=market.dates[:-1], prices=replace(prices, **cut), splits=moved)


def repriced(market: Market) -> Market:
    close = market.prices.close.copy()
    close[5, 1] += 0.01
    return replace(market, prices=replace(market.prices, close=close))


def test_a_run_knows_its_market_and_its_code(folder: RunFolder) -> None:
    assert require_same(folder, MARKET) == Provenance.read(folder)
    found = json.loads((folder.checkpoints / "gen_000002" / "manifest.json").read_bytes())["made_of"]
    assert found == recorded(folder, small_config(num_generations=2), MARKET)
    assert found.keys() == {"config", "market", "code"}


@pytest.mark.parametrize(
    ("market", "says"),
    [
        (shortened(MARKET), "the last day was 2020-07-18, is 2020-07-17; the number of days was 200, is 199"),
        (repriced(MARKET), "prices are others"),
    ],
)
def test_changed_data_are_refused_before_anything_is_touched(folder: RunFolder, market: Market, says: str) -> None:
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match=f"was made on other data: {says}"):
        require_same(folder, market)
    assert {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before


def test_a_checkpoint_knows_its_market_without_the_record(folder: RunFolder, tmp_path: Path) -> None:
    bare = RunFolder(Path(shutil.copytree(folder.path, tmp_path / "bare")))
    bare.provenance.unlink()
    archive = Archive(bare.checkpoints, 10, recorded(bare, small_config(num_generations=2), repriced(MARKET)))
    with pytest.raises(RunError, match=r"gen_000002 was written with other data: .* go on with the data"):
        archive.load(2)


def test_other_code_is_refused_by_name(folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules of trading are copied, and their costs are changed."""
    package = Path(str(resources.files("eigen2")))
    for name in DECIDING:
        (shutil.copytree if (package / name).is_dir() else _copied)(package / name, tmp_path / name)
    rules = tmp_path / "trading" / "rules.py"
    text = rules.read_text(encoding="utf-8")
    assert "cost" in text
    rules.write_text(text.replace("cost", "100 * cost"), encoding="utf-8")
    monkeypatch.setattr(provenance.resources, "files", lambda package: tmp_path)
    code_digests.cache_clear()
    try:
        with pytest.raises(RunError, match=r"was made with other code: eigen2/trading/rules\.py; go on with the code"):
            require_same(folder, MARKET)
    finally:
        code_digests.cache_clear()


def _copied(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


@pytest.mark.parametrize("package", ["trading", "learning", "evolution", "market", "evaluation"])
def test_all_code_that_decides_numbers_counts(package: str) -> None:
    names = {path.name for path in Path(str(resources.files("eigen2"))).joinpath(package).glob("*.py")}
    assert {f"{package}/{name}" for name in names} <= code_digests().keys()
    assert all((Path(str(resources.files("eigen2"))) / name).exists() for name in DECIDING)
    assert {"training/member.py", "training/trainer.py", "randomness.py", "config/schema.py"} <= code_digests().keys()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"market": 1, "code": {}, "sources": []}',
        b'{"market": {}, "code": {}}',
        b"\xff",
        b"[" * 5000,
    ],
)
def test_a_record_that_can_not_be_read_is_refused(tmp_path: Path, content: bytes) -> None:
    folder = RunFolder(tmp_path)
    folder.provenance.write_bytes(content)
    with pytest.raises(RunError, match=r"provenance\.json can't be read"):
        require_same(folder, MARKET)


# --- where the data lie -----------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data and runs, which is worked in."""
    place = tmp_path / "project"
    (place / "data").mkdir(parents=True)
    (place / "data" / "market.csv").write_text("date,A\n")
    monkeypatch.chdir(place)
    return place


def made(source: str = "data/market.csv") -> Path:
    """A run with a relative path to its data, made in the working directory."""
    config = small_config(source=source, name="first", runs_dir="runs")
    folder = RunFolder.create(config)
    recorded(folder, config, MARKET)
    return folder.path.absolute()


def source_of(path: Path, elsewhere: str | None = None) -> str:
    folder, config = RunFolder.open(path)
    found: Config = with_data_found(folder, config, elsewhere)
    return found.data.source


def test_data_are_found_from_any_directory(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made()
    monkeypatch.chdir(project.parent)
    assert source_of(path) == str(project / "data" / "market.csv")


def test_a_run_that_moves_alone_finds_its_data(project: Path) -> None:
    assert source_of(made().rename(project.parent / "first")) == str(project / "data" / "market.csv")


def test_a_run_that_moves_with_its_data_finds_them(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made()
    monkeypatch.chdir(project.parent)
    moved = project.rename(project.parent / "moved")
    assert source_of(moved / path.relative_to(project)) == str(moved / "data" / "market.csv")


def test_a_run_that_comes_from_another_machine_finds_the_data_of_the_same_project(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made().rename(project.parent / "first")
    (project.parent / "elsewhere" / "data").mkdir(parents=True)
    (project / "data" / "market.csv").rename(project.parent / "elsewhere" / "data" / "market.csv")
    monkeypatch.chdir(project.parent / "elsewhere")
    assert source_of(path) == str(project.parent / "elsewhere" / "data" / "market.csv")


def test_data_that_are_gone_are_named_and_found_where_the_user_says(project: Path) -> None:
    path = made()
    (project / "data" / "market.csv").rename(project / "market.csv")
    with pytest.raises(DataError, match=r"data/market\.csv: the data of run .*first is not there; .*--data FILE"):
        source_of(path)
    assert source_of(path, "market.csv") == str(project / "market.csv")


def test_embedded_data_are_everywhere(project: Path) -> None:
    assert source_of(made("sp20")) == "sp20"
