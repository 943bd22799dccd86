"""The page: everything on it, nothing from elsewhere, its numbers those of the files, foreign text only as text."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eigen2.cli.report import record_of
from eigen2.errors import RunError
from eigen2.evaluation.scores import curve_figures
from eigen2.report.page import most_traded, number, page_of, pct, shade, signed
from eigen2.report.records import CHAMPION, HOLDOUT, VALIDATION, RunRecord, importance_of, read_equity, read_evaluation
from eigen2.training.run_folder import RunFolder
from tests.report.runs import examined_run, named, record
from tests.training.small import MARKET

SECTIONS = ("verdict", "result", "luck", "months", "trades", "learning", "family", "importance", "config", "data")
INLINE_IMAGE = "data:image/png;base64,"
HOSTILE = ("<script>alert(1)</script>", "$\\frac{$", "__hidden & <b>", '"><img src=x onerror=alert(2)>')


class Page(HTMLParser):
    """The tags of a page with their attributes, the cells of its tables, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self._cell = self._cell or tag in ("td", "th")

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._cell:
            self.rows[-1][-1] += data.strip() + " "

    def ids(self) -> list[str]:
        return [found for _, attributes in self.tags if (found := attributes.get("id"))]

    def row(self, *begins: str) -> Iterator[list[str]]:
        """The rows whose first cells are these."""
        cells = ([cell.strip() for cell in row] for row in self.rows)
        return (row for row in cells if row[: len(begins)] == list(begins))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return examined_run(tmp_path_factory.mktemp("runs") / "a run")


@pytest.fixture(scope="module")
def run(folder: RunFolder) -> RunRecord:
    return record_of(folder, MARKET)


@pytest.fixture(scope="module")
def html(run: RunRecord) -> str:
    return page_of(run)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def told(folder: RunFolder) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(folder.evaluation.read_text(encoding="utf-8"))
    return content


def test_every_section_is_there_the_verdict_first(page: Page, folder: RunFolder) -> None:
    assert [name for name in page.ids() if name in SECTIONS] == list(SECTIONS)
    sentences = told(folder)["verdict"]
    places = [page.text.index(sentence) for sentence in sentences]
    assert places == sorted(places)
    assert places[-1] < page.text.index("Hold-out return")
    linked = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    assert linked <= {f"#{name}" for name in SECTIONS}


def test_nothing_is_fetched_and_nothing_runs(page: Page, html: str) -> None:
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "img", "base")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href", "srcset", "action"):
                assert str(value).startswith(("#", INLINE_IMAGE))
    assert not re.search(r"@import|url\((?!#)", html)
    assert len(html) < 3e6


def test_every_figure_is_told_in_words_too_and_no_name_is_double(page: Page) -> None:
    figures = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(figures) == 6
    assert all(attributes["role"] == "img" and len(str(attributes["aria-label"])) > 40 for attributes in figures)
    assert sum(tag == "figcaption" for tag, _ in page.tags) == 6
    assert len(set(page.ids())) == len(page.ids())
    used = {
        str(a[name])[1:] for _, a in page.tags for name in ("href", "xlink:href") if str(a.get(name)).startswith("#")
    }
    assert used <= set(page.ids())


def test_scores_are_those_of_the_evaluation(page: Page, folder: RunFolder) -> None:
    segments = told(folder)["segments"]
    names = list(segments[HOLDOUT]["figures"])
    assert names[0] == CHAMPION
    for name in names:
        rows = [row for row in page.row(name) if len(row) == 10]
        for split, row in zip((HOLDOUT, VALIDATION), rows, strict=True):
            figures, cells = segments[split]["figures"][name], [cell.split(" ")[0] for cell in row]
            assert cells[1] == number(figures["total_return_pct"], 1)
            assert cells[2] == number(figures["sharpe_ratio"], 2)
            assert cells[4] == number(figures["max_drawdown_pct"], 1)
            assert cells[6] == number(figures["num_trades"], 0)


def test_intervals_costs_and_probabilities_are_those_of_the_evaluation(page: Page, folder: RunFolder) -> None:
    evaluation = told(folder)
    hold = evaluation["segments"][HOLDOUT]
    low, high = hold["intervals"]["sharpe_ratio"]
    assert f"{number(low)} to {number(high)}" in page.text
    for name, chance in hold["beats"].items():
        row = next(row for row in page.row(name) if len(row) == 5)
        assert row[1] == pct(chance)
        assert row[3] == pct(evaluation["segments"][VALIDATION]["beats"][name])
    for cost, figures in evaluation["costs"].items():
        (row,) = page.row(f"{cost} bps a side")
        assert row[1] == number(figures[HOLDOUT]["total_return_pct"], 1)
        assert row[5] == number(figures[VALIDATION]["sharpe_ratio"], 2)
    assert f"Deflated Sharpe ratio: {pct(evaluation['deflated_sharpe']['probability'])}." in page.text
    assert f"overfitting: {pct(evaluation['overfitting']['probability'])}." in page.text
    assert "opened once by" in page.text


def test_months_make_up_the_equity_of_the_file(page: Page, run: RunRecord) -> None:
    equity = run.equity[HOLDOUT][CHAMPION][1]
    years = [row for row in page.row("champion") if len(row) == 15][:1]
    assert years[0][-1] == signed(100 * (equity[-1] - 1)), "the small market's hold-out lies in one year"


def test_equity_of_the_file_gives_the_sharpe_of_the_textbook(run: RunRecord) -> None:
    curve = np.concatenate([[1.0], run.equity[HOLDOUT][CHAMPION][1]])
    returns = curve[1:] / curve[:-1] - 1
    textbook = np.sqrt(252) * returns.mean() / np.sqrt(((returns - returns.mean()) ** 2).sum() / (len(returns) - 1))
    told = run.evaluation.segments[HOLDOUT].figures[CHAMPION]["sharpe_ratio"]
    assert told == pytest.approx(textbook)
    assert told == pytest.approx(curve_figures(run.equity[HOLDOUT][CHAMPION][1], 252)["sharpe_ratio"])


def test_config_and_data_report_are_shown_whole(page: Page, run: RunRecord) -> None:
    assert run.config in page.text
    assert run.data_report in page.text


def test_text_of_the_files_stays_text(tmp_path: Path) -> None:
    market = named(*HOSTILE)
    run = record(tmp_path / "<i>run", market)
    hostile = replace(run, config="a: <script>alert(3)</script>", data_report="</pre><script>alert(4)</script>")
    evaluation = hostile.evaluation.model_copy(update={"verdict": ["<script>alert(5)</script>"]})
    page = Page(page_of(replace(hostile, evaluation=evaluation)))
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "img", "b"})
    assert not [attributes for tag, attributes in page.tags if tag == "i" and "style" not in attributes]
    for text in (HOSTILE[0], HOSTILE[1], HOSTILE[3], *(f"<script>alert({n})</script>" for n in (3, 4, 5)), "<i>run"):
        assert text in page.text


def test_a_champion_that_never_traded_has_a_page(run: RunRecord) -> None:
    page = Page(page_of(replace(run, trades=[], closes={})))
    assert "never traded" in page.text
    assert sum(tag == "svg" for tag, _ in page.tags) == 5


def test_a_run_without_attention_or_candidates_has_a_page(run: RunRecord) -> None:
    evaluation = run.evaluation.model_copy(update={"deflated_sharpe": None, "overfitting": None})
    text = Page(page_of(replace(run, evaluation=evaluation, importance=np.empty((0, 4))))).text
    assert f"{run.metrics[-1]['importance/top']} got most" in text
    assert "can't be told in full" in text


def test_a_page_is_the_same_whenever_it_is_written(run: RunRecord, html: str) -> None:
    assert page_of(run) == html


def test_importance_is_the_mean_of_the_members(folder: RunFolder, run: RunRecord) -> None:
    rows = [
        {"generation": 1, "importance": [0.2, 0.2]},
        {"generation": 0, "importance": [0.1, 0.3]},
        {"generation": 0, "importance": [0.3, 0.3]},
    ]
    assert importance_of(rows, 2, Path("x")) == pytest.approx(np.array([[0.4, 0.6], [0.5, 0.5]]))
    tops = [run.columns[int(row.argmax())] for row in run.importance]
    assert tops == [row["importance/top"] for row in run.metrics]
    with pytest.raises(RunError, match=r"tells of 2 columns, the market has 3"):
        importance_of(rows, 3, folder.candidates)


def test_the_most_traded_stocks_come_first(run: RunRecord) -> None:
    counts = [sum(trade.stock == stock for trade in run.trades) for stock in most_traded(run.trades)]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == len(run.trades)


@pytest.mark.parametrize(
    ("shown", "is_"),
    [
        (number(-1234.567, 1), "\N{MINUS SIGN}1,234.6"),
        (number(-0.004), "0.00"),
        (number(None), "\N{EN DASH}"),
        (signed(0.04), "0.0"),
        (signed(2.0), "+2.0"),
        (pct(0.004), "under 1 %"),
        (pct(0.0), "0 %"),
        (pct(0.999), "over 99 %"),
        (pct(0.5), "50 %"),
        (shade(-50.0), shade(-10.0)),
    ],
)
def test_figures_are_written_for_people(shown: str, is_: str) -> None:
    assert shown == is_


DAMAGE = [
    ("equity.csv", "segment,date,champion\nhold-out,monday,1\n", "line 2: not a row of equity"),
    ("equity.csv", "segment,date,champion\nhold-out,2020-01-01,1\n", "no equity of the champion on validation"),
    ("trades.csv", "segment,stock\nhold-out,A\n", "row 1: entry_date: field required"),
    ("evaluation.json", "{", "Invalid JSON"),
    ("evaluation.json", "{}", "field required"),
    ("lineage.jsonl", '{"generation": 0, "member": 0}\n', "row 1: operator: field required"),
    ("lineage.jsonl", "", "no member that became champion"),
    ("metrics.jsonl", "no json\n\n", "line 1"),
    ("config.yaml", None, "can't be read"),
]


@pytest.mark.parametrize(("name", "content", "says"), DAMAGE)
def test_a_damaged_file_is_named(name: str, content: str | None, says: str, folder: RunFolder, tmp_path: Path) -> None:
    for path in folder.path.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(RunError) as error:
        record_of(RunFolder(tmp_path), MARKET)
    assert str(tmp_path / name) in str(error.value)
    assert says in str(error.value)


def test_the_files_are_read_as_they_were_written(folder: RunFolder) -> None:
    curves = read_equity(folder.equity)
    assert list(curves) == [VALIDATION, HOLDOUT]
    for split, segment in read_evaluation(folder.evaluation).segments.items():
        dates, equity = curves[split][CHAMPION]
        assert (str(dates[0]), str(dates[-1])) == (str(segment.first_date), str(segment.last_date))
        assert 100 * (equity[-1] - 1) == pytest.approx(segment.figures[CHAMPION]["total_return_pct"])
