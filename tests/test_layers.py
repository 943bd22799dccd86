"""The floors of the house: imports run downwards only, and each heavy library has one owner."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {
    "eigen2": 0,
    "eigen2.errors": 0,
    "eigen2.randomness": 0,
    "eigen2.files": 0,
    "eigen2.locking": 0,
    "eigen2.ownership": 0,
    "eigen2.arrays": 0,
    "eigen2.terminal": 0,
    "eigen2.config": 0,
    "eigen2.market": 1,
    "eigen2.trading": 1,
    "eigen2.evolution": 1,
    "eigen2.learning": 1,
    "eigen2.learning.agent": 2,
    "eigen2.learning.imitation": 2,
    "eigen2.evaluation": 3,
    "eigen2.tracking": 4,
    "eigen2.report": 4,
    "eigen2.cloud": 4,
    "eigen2.training": 4,
    "eigen2.training.runtime": 5,
    "eigen2.training.cluster": 5,
    "eigen2.training.crew": 5,
    "eigen2.training.ray_metrics": 5,
    "eigen2.training.room": 5,
    "eigen2.training.traffic": 5,
    "eigen2.training.preflight": 5,
    "eigen2.training.trainer": 5,
    "eigen2.training.session": 5,
    "eigen2.training.candidates": 5,  # reads rows back, which is tracking's
    "eigen2.training.resume": 5,  # the same
    "eigen2.training.subject": 5,
    "eigen2.cli": 6,
    "eigen2.__main__": 7,
    "tune": 6,
}
# what a module on the floor of another folder may import all the same
BESIDE = {"eigen2.trading": {"eigen2.market"}, "eigen2.learning": {"eigen2.market", "eigen2.trading"}}
OWNERS = {
    "pandas": ("eigen2.market",),
    "talib": ("eigen2.market",),
    "wandb": ("eigen2.tracking",),
    "ray": ("eigen2.training", "eigen2.cloud", "tune"),
    "requests": ("eigen2.cloud",),
    "optuna": ("tune",),
    "scipy": ("tune",),
    "gymnasium": ("eigen2.evaluation",),
    "matplotlib": ("eigen2.report",),
    "jinja2": ("eigen2.report", "tune"),
}
VERSIONS_ONLY = "eigen2.cli.doctor"  # imports every library to report its version


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


SOURCES = {name_of(path): path for top in ("eigen2", "tune") for path in sorted((ROOT / top).rglob("*.py"))}


def tree_of(module: str) -> ast.Module:
    return ast.parse(SOURCES[module].read_text(encoding="utf-8"))


def imports_of(module: str) -> Iterator[str]:
    """Names of the modules that a module imports anywhere in its text."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            assert node.module is not None
            for alias in node.names:
                # `from package import module` and `from module import name` look alike
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in SOURCES else node.module


def inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def floor_of(module: str) -> int:
    """The floor of the longest name in FLOORS that holds the module."""
    holders = [name for name in FLOORS if inside(module, name) and (name != "eigen2" or module == "eigen2")]
    assert holders, f"{module} stands on no floor: give it one in FLOORS"
    return FLOORS[max(holders, key=len)]


def folder_of(module: str) -> str:
    top, *inner = module.split(".")
    return ".".join([top, *inner[:1]]) if top == "eigen2" else top


def allowed(module: str, imported: str) -> bool:
    above, below = floor_of(module), floor_of(imported)
    same_folder = folder_of(module) == folder_of(imported)
    beside = above == below and folder_of(imported) in BESIDE.get(folder_of(module), ())
    foundation = above == below == 0
    return below < above or (same_folder and below == above) or beside or foundation


@pytest.mark.parametrize("module", SOURCES)
def test_imports_run_downwards_only(module: str) -> None:
    ours = [name for name in imports_of(module) if inside(name, "eigen2") or inside(name, "tune")]
    assert [name for name in ours if not allowed(module, name)] == []


@pytest.mark.parametrize("module", [name for name in SOURCES if name != VERSIONS_ONLY])
def test_each_heavy_library_has_one_owner(module: str) -> None:
    for imported in imports_of(module):
        library = imported.split(".")[0]
        if library in OWNERS:
            assert any(inside(module, owner) for owner in OWNERS[library]), f"{module} imports {imported}"


@pytest.mark.parametrize("module", [name for name in SOURCES if inside(name, "eigen2")])
def test_nothing_prints_past_the_console(module: str) -> None:
    called = [node.func for node in ast.walk(tree_of(module)) if isinstance(node, ast.Call)]
    assert "print" not in [function.id for function in called if isinstance(function, ast.Name)]


@pytest.mark.parametrize(
    ("module", "imported", "fine"),
    [
        ("eigen2.training.trainer", "eigen2.training.member", True),
        ("eigen2.training.member", "eigen2.training.trainer", False),
        ("eigen2.market.build", "eigen2.market.readers", True),
        ("eigen2.market.build", "eigen2.trading.rules", False),
        ("eigen2.learning.replay", "eigen2.trading.ledger", True),
        ("eigen2.learning.networks", "eigen2.learning.agent", False),
        ("eigen2.learning.agent", "eigen2.evaluation.slices", False),
        ("eigen2.evolution.plan", "eigen2.learning.replay", False),
        ("eigen2.cli.train", "eigen2.training.session", True),
        ("eigen2.config.schema", "eigen2.market.market", False),
    ],
)
def test_the_floors_tell_up_from_down(module: str, imported: str, fine: bool) -> None:
    assert allowed(module, imported) == fine
