"""Plots: what is drawn is what was given, and the file is a whole PNG."""

import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eigen2.report.plots import drawdown_pct, equity_figure, fitness_figure, plot_equity, plot_fitness
from eigen2.report.style import spread


def rows(generations: int) -> list[dict[str, Any]]:
    return [
        {
            "generation": generation,
            "fitness/mean": 10.0 + generation,
            "fitness/min": -5.0,
            "fitness/max": 20.0 + generation,
            "fitness/best_ever": 20.0 + generation,
            "validation/fitness": 7.0 - generation,
            "validation/champion": 7.0,
        }
        for generation in range(generations)
    ]


def curves() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    dates = np.arange("2021-01-04", "2021-04-04", dtype="datetime64[D]")
    day = np.arange(len(dates))
    return {"champion": (dates, 1 + 0.1 * np.sin(day / 5)), "index": (dates, 1 + day / 500)}


def lines(panel: Axes) -> dict[str, np.ndarray]:
    """Label -> [n, 2] of x and y."""
    return {str(line.get_label()): np.asarray(line.get_xydata()) for line in panel.get_lines()}


def label_boxes(figure: Figure, panel: Axes) -> list[Any]:
    figure.draw_without_rendering()
    return [text.get_window_extent() for text in panel.texts]


def png_size(path: Path) -> tuple[int, ...]:
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert content[-8:-4] == b"IEND"
    return struct.unpack(">II", content[16:24])


def test_fitness_shows_mean_best_and_the_band_by_generation() -> None:
    training, validation = fitness_figure(rows(4)).axes
    drawn = lines(training)
    assert drawn["mean (band: min to max)"].tolist() == [[0, 10], [1, 11], [2, 12], [3, 13]]
    assert drawn["best so far, any episodes"][:, 1].tolist() == [20, 21, 22, 23]
    corners = training.collections[0].get_paths()[0].vertices
    assert {(0, -5), (3, -5), (0, 20), (3, 23)} <= {tuple(corner) for corner in np.asarray(corners).tolist()}
    assert lines(validation)["contender"][:, 1].tolist() == [7, 6, 5, 4]
    assert lines(validation)["champion"][:, 1].tolist() == [7, 7, 7, 7]


def test_a_figure_that_is_missing_leaves_a_gap() -> None:
    given = rows(3)
    given[1]["validation/fitness"] = None
    del given[2]["validation/fitness"]
    values = lines(fitness_figure(given).axes[1])["contender"][:, 1]
    assert values[0] == 7
    assert np.isnan(values[1:]).all()


def test_a_penalty_does_not_flatten_the_rest() -> None:
    given = rows(10)
    assert fitness_figure(given).axes[0].get_yscale() == "linear"
    given[0]["fitness/mean"] = -10_000.0
    panel = fitness_figure(given).axes[0]
    assert panel.get_yscale() == "symlog"
    assert "log" in panel.get_ylabel()
    height = panel.get_ylim()
    low, high = (panel.transData.transform((0, value))[1] for value in (10, 20))
    assert high - low > 5, f"10 and 20 are told apart within {height}"


def test_one_generation_and_none_can_be_drawn() -> None:
    assert lines(fitness_figure(rows(1)).axes[0])["best so far, any episodes"].tolist() == [[0, 20]]
    assert fitness_figure(rows(1)).axes[0].collections, "the band of one generation is a bar"
    assert fitness_figure([]).axes[0].get_lines()[0].get_xdata().size == 0


def test_equity_and_its_drawdown_by_date() -> None:
    figure = equity_figure(curves(), "Hold-out")
    equity, drawdown = figure.axes
    for name, (dates, values) in curves().items():
        drawn = lines(equity)[name]
        assert drawn[:, 1].tolist() == values.tolist()
        assert drawn[-1, 0] == dates[-1].astype(float)
        assert lines(drawdown)[name][:, 1].tolist() == drawdown_pct(values).tolist()
    assert figure.get_suptitle() == "Hold-out"


def test_drawdown_is_below_the_highest_value_and_the_start() -> None:
    assert drawdown_pct(np.array([0.9, 1.2, 0.6, 1.2, 1.5])).tolist() == pytest.approx([-10, 0, -50, 0, 0])


def test_each_line_is_named_in_its_own_colour_without_overlap() -> None:
    dates = np.arange("2021-01-04", "2021-03-04", dtype="datetime64[D]")
    same = {name: (dates, np.linspace(1, 1.2, len(dates))) for name in ("a", "b", "c", "d")}
    figure = equity_figure(same, "t")
    panel = figure.axes[0]
    colors = {str(line.get_label()): line.get_color() for line in panel.get_lines()}
    assert {text.get_text(): text.get_color() for text in panel.texts} == {name: colors[name] for name in same}
    boxes = label_boxes(figure, panel)
    assert not any(one.overlaps(other) for n, one in enumerate(boxes) for other in boxes[:n])
    assert all(figure.bbox.x1 >= box.x1 for box in boxes), "labels are inside the figure"


@pytest.mark.parametrize(
    ("positions", "moved"),
    [
        ([0, 100], [0, 100]),
        ([10, 10], [5, 15]),
        ([20, 0, 21], [15.5, 0, 25.5]),
        ([3, 2, 1], [12, 2, -8]),
        ([], []),
    ],
)
def test_labels_move_as_little_as_it_takes(positions: list[float], moved: list[float]) -> None:
    assert spread(positions, 10) == pytest.approx(moved)


def test_plots_are_whole_files_of_the_right_size(tmp_path: Path) -> None:
    plot_fitness(rows(40), tmp_path / "fitness.png")
    plot_equity(curves(), "Hold-out", tmp_path / "equity.png")
    assert png_size(tmp_path / "fitness.png") == png_size(tmp_path / "equity.png") == (1350, 975)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["equity.png", "fitness.png"]


def test_any_span_of_dates_has_a_scale() -> None:
    """matplotlib warns of spans for which it finds no interval, such as four years with 5 to 8 marks."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for days in (5, 80, 250, 1_300, 1_500, 4_000, 12_000):
            dates = np.datetime64("2005-01-03") + np.array([0, days])
            equity = equity_figure({"champion": (dates, np.array([1.0, 1.1]))})
            assert 2 <= len(equity.axes[0].xaxis.get_majorticklocs()) <= 9
