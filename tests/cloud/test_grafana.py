"""The Grafana dashboard in the repository shows what a run measures."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from eigen2.training.metrics import NUMBERS
from tests.cloud.test_configs import ROOT

BOARD: dict[str, Any] = json.loads((ROOT / "configs/grafana/eigen2.json").read_text(encoding="utf-8"))
COSTS = ("cost/total", "cost/generation")
WANTED = ("Fitness", "Seconds a phase", "GPU memory a member", "GPU use a member", "Replay buffer", "Cost")


def expressions() -> list[str]:
    return [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]


@pytest.mark.parametrize("title", WANTED)
def test_it_has_a_panel_for(title: str) -> None:
    assert [panel for panel in BOARD["panels"] if panel["title"].startswith(title)]


def test_every_metric_of_ours_exists() -> None:
    measured = {"ray_eigen2_" + name.replace("/", "_") for name in (*NUMBERS, *COSTS)}
    shown = {name for expression in expressions() for name in re.findall(r"ray_eigen2_\w+", expression)}
    assert shown
    assert shown - measured == set()


def test_rays_own_metrics_exist() -> None:
    import ray.dashboard.modules.reporter.reporter_agent as agent

    source = Path(agent.__file__).read_text(encoding="utf-8")
    others = {name for text in expressions() for name in re.findall(r"\bray_(?!eigen2_)(\w+)", text)}
    assert others
    assert [name for name in others if f'"{name}"' not in source] == []


def test_panels_do_not_overlap() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in BOARD["panels"]]
    assert len(set(places)) == len(places)
