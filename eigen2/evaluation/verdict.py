"""The verdict on a champion in plain words. Evidence is claimed only where nothing speaks against it."""

from collections.abc import Iterator, Mapping, Sequence

from eigen2.evaluation.assessment import Assessment, Figures, SegmentAssessment, Uncertainty
from eigen2.evaluation.examination import CHAMPION, HOLD, HOLDOUT, RANDOM, VALIDATION

MIN_DEFLATED_SHARPE = 0.95  # the usual level of a test (Bailey and Lopez de Prado 2014)
MAX_OVERFITTING = 0.5  # from there on choosing the best of one half says nothing, or worse, of the other
MIN_BEATS_RANDOM = 0.95  # on days that chose nothing
EVIDENCE, NO_EVIDENCE = "Evidence of skill", "No evidence of skill"


def verdict(assessment: Assessment) -> list[str]:
    """The verdict as its first sentence, then the figures behind it, a sentence each."""
    return [_verdict(assessment), *_choice(assessment), *_results(assessment), _openings(assessment)]


def verdict_on_other_data(assessment: Assessment, differences: Sequence[str]) -> list[str]:
    """What a champion earned on other data than its run's, a sentence each: no evidence, whatever it earned."""
    return [
        f"{NO_EVIDENCE}: these data are not known to be the run's: {'; '.join(differences)}.",
        *_results(assessment),
    ]


def is_evidence(sentences: Sequence[str]) -> bool:
    """Whether a verdict is that there is evidence."""
    return sentences[0].startswith(EVIDENCE)


def beats_random(figures: Mapping[str, Figures]) -> bool:
    """Whether a champion earned more than the mean of random agents who trade as much."""
    return figures[CHAMPION]["total_return_pct"] > figures[RANDOM]["total_return_pct"]


def verdict_on_windows(figures: Mapping[str, Figures], sure: Uncertainty, won: int, windows: int) -> list[str]:
    """The verdict on successive windows: `figures` and how sure they are of the stitched curves, `won` of `windows`
    in which the champion earned more than random agents."""
    passed = sure.beats[RANDOM] >= MIN_BEATS_RANDOM
    low, high = sure.intervals["sharpe_ratio"]
    others = [f"{_other(name)} {figures[name]['total_return_pct']:.1f} %" for name in sure.beats]
    beaten = [f"{_other(name)} {_percent(share)}" for name, share in sure.beats.items()]
    return [
        f"{EVIDENCE if passed else NO_EVIDENCE}: over all windows the champions earned more than the mean of random "
        f"agents who trade as much with a probability of {_percent(sure.beats[RANDOM])} "
        f"({_percent(MIN_BEATS_RANDOM)} asked), in {won} of {windows} windows, named by their last days.",
        f"They earned {figures[CHAMPION]['total_return_pct']:.1f} % with a Sharpe ratio of "
        f"{figures[CHAMPION]['sharpe_ratio']:.2f} ({_percent(sure.level)} interval {low:.2f} to {high:.2f}); "
        f"{', '.join(others)}.",
        f"Probability of having earned more: than {', than '.join(beaten)}.",
    ]


def shortcomings(assessment: Assessment) -> list[str]:
    """What speaks against skill, a clause each; none if the champion passes all that is asked."""
    deflated, overfitting = assessment.deflated_sharpe, assessment.overfitting
    beats_random = assessment.segments[HOLDOUT].beats[RANDOM]
    found = []
    if deflated is None:
        found.append("the run kept no record of the candidates it chose from, so luck can't be told from skill")
    elif deflated.probability < MIN_DEFLATED_SHARPE:
        found.append(
            "on validation its Sharpe ratio is no more than the luck of the best of so many candidates may explain "
            f"({_percent(deflated.probability)} sure, {_percent(MIN_DEFLATED_SHARPE)} asked)"
        )
    if overfitting is not None and overfitting.probability >= MAX_OVERFITTING:
        found.append(
            f"who does best on one half of the validation {assessment.bar_unit} does no better than most on the other "
            f"(probability of overfitting {_percent(overfitting.probability)}, "
            f"below {_percent(MAX_OVERFITTING)} asked)"
        )
    if beats_random < MIN_BEATS_RANDOM:
        found.append(
            f"on hold-out {assessment.bar_unit} it did not clearly earn more than random agents who trade as much "
            f"({_percent(beats_random)} sure, {_percent(MIN_BEATS_RANDOM)} asked)"
        )
    return found


def _verdict(assessment: Assessment) -> str:
    found = shortcomings(assessment)
    if found:
        return f"{NO_EVIDENCE}: {'; '.join(found)}."
    beats = assessment.segments[HOLDOUT].beats
    return (
        f"{EVIDENCE}: on {assessment.bar_unit} that chose nothing the champion earned more than random agents who "
        f"trade as much ({_percent(beats[RANDOM])} sure), and its choice on validation survives what luck explains."
        + ("" if beats[HOLD] >= 0.5 else " Buying and holding the same stocks earned more all the same.")
    )


def _choice(assessment: Assessment) -> Iterator[str]:
    counts, deflated, overfitting = assessment.candidates, assessment.deflated_sharpe, assessment.overfitting
    if deflated is not None:
        sweep = f" in each of {counts.sweep_trials} trials of a sweep" if counts.sweep_trials > 1 else ""
        yield (
            f"The champion was chosen on validation, where {counts.total} candidates{sweep} were looked at "
            f"({counts.distinct} that differ): Sharpe ratio {deflated.sharpe_ratio:.2f} on "
            f"{deflated.days} {assessment.bar_unit}, where the best of {deflated.trials} without skill may be "
            f"expected to have {deflated.expected_best_sharpe:.2f}; deflated Sharpe ratio {deflated.probability:.2f}."
        )
    if overfitting is not None:
        yield (
            f"Probability of backtest overfitting: {_percent(overfitting.probability)} "
            f"over {overfitting.splits} ways to halve the validation {assessment.bar_unit}."
        )


def _results(assessment: Assessment) -> Iterator[str]:
    for name in (VALIDATION, HOLDOUT):
        yield _result(name, assessment.segments[name])
    dearest = max(assessment.costs, key=float, default=None)
    if dearest is not None:
        figures = assessment.costs[dearest][HOLDOUT]
        yield (
            f"With {dearest} basis points of costs a side the same trades would have earned "
            f"{figures['total_return_pct']:.1f} % on hold-out."
        )


def _result(name: str, segment: SegmentAssessment) -> str:
    figures, low_high = segment.figures, segment.intervals["sharpe_ratio"]
    others = [
        f"{_other(other)} {figures[other]['total_return_pct']:.1f} % (beaten with a probability of {_percent(share)})"
        for other, share in segment.beats.items()
    ]
    return (
        f"On {name}, {segment.first_date} to {segment.last_date}, it earned "
        f"{figures[CHAMPION]['total_return_pct']:.1f} % with a Sharpe ratio of {figures[CHAMPION]['sharpe_ratio']:.2f} "
        f"({_percent(segment.level)} interval {low_high[0]:.2f} to {low_high[1]:.2f}); {', '.join(others)}."
    )


def _other(name: str) -> str:
    return {HOLD: "buy and hold", RANDOM: "random agents who trade as much"}.get(name, f"the {name}")


def _openings(assessment: Assessment) -> str:
    count = assessment.holdout_openings
    if count == 1:
        return "The hold-out was opened for the first time."
    return f"The hold-out was opened {count} times: whoever decides anything by it makes it less of a test each time."


def _percent(share: float) -> str:
    """A share as whole %, never rounded up to certainty."""
    whole = round(100 * share)
    if whole == 100 and share < 1:
        return "over 99 %"
    return "under 1 %" if whole == 0 and share > 0 else f"{whole} %"
