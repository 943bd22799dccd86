"""The figures of a generation, by the names that every listener knows; see docs/architecture.md for their list."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eigen2.evolution.plan import MutationStrength

if TYPE_CHECKING:  # members load torch, which those who only read metrics need not wait for
    from eigen2.training.member import Outcome

NUMBERS = (  # the metrics that are numbers once a run with learning is done; `importance/top` is a name
    *(f"fitness/{name}" for name in ("mean", "max", "min", "std", "best_ever")),
    *(f"validation/{name}" for name in ("fitness", "best_ever", "champion", "total_return", "sharpe_ratio")),
    *(f"validation/{name}" for name in ("max_drawdown", "win_rate", "avg_trade_duration", "num_trades")),
    *(f"train/{name}" for name in ("actor_loss", "critic_loss", "q_mean", "grad_norm")),
    *(f"buffer/{name}" for name in ("size", "utilization")),
    *(f"evolution/{name}" for name in ("mutation_rate", "mutation_std", "plateau", "diversity")),
    "importance/entropy",
    *(f"time/{name}" for name in ("generation", "play", "train", "evolve", "checkpoint")),
    *(f"final/{name}" for name in ("win_rate", "avg_trade_duration", "sharpe_ratio", "total_return")),
)

Row = dict[str, float | int | str]


@dataclass(frozen=True)
class Best:
    """A member that stood out: of which generation, and how it did on validation, altogether and on each slice."""

    generation: int
    member: int
    validation_fitness: float
    validation_scores: list[float]
    validation: dict[str, float]

    @classmethod
    def of(cls, generation: int, member: int, outcome: "Outcome") -> "Best":
        """A member by how it just played."""
        scores = outcome.validation_scores.tolist()
        return cls(generation, member, outcome.validation_fitness, scores, outcome.validation)


def best_of(fitness: list[float], before: float | None) -> float:
    """The best fitness so far, given that of the generations before.

    Training episodes differ from one generation to the next, so this is partly the luck of the draw, and grows with the
    number of generations; validation/best_ever is on fixed episodes.
    """
    return max(fitness) if before is None else max(before, *fitness)


def of_fitness(fitness: list[float], best_ever: float) -> Row:
    """The population's fitness on training slices."""
    return {
        "fitness/mean": float(np.mean(fitness)),
        "fitness/max": max(fitness),
        "fitness/min": min(fitness),
        "fitness/std": float(np.std(fitness)),
        "fitness/best_ever": best_ever,
    }


def of_validation(leader: "Outcome", best: Best, peak: Best) -> Row:
    """The generation's contender on validation, its fitness and mean score; fitness of the best and the champion."""
    figures = leader.validation
    return {
        "validation/fitness": leader.validation_fitness,
        "validation/best_ever": peak.validation_fitness,
        "validation/champion": best.validation_fitness,
        "validation/total_return": figures["total_return_pct"],
        "validation/sharpe_ratio": figures["sharpe_ratio"],
        "validation/max_drawdown": figures["max_drawdown_pct"],
        "validation/win_rate": figures["win_rate"],
        "validation/avg_trade_duration": figures["avg_trade_duration"],
        "validation/num_trades": figures["num_trades"],
    }


def of_evolution(strength: MutationStrength, diversity: float) -> Row:
    """How strongly the generation mutates, for how long it has not progressed, how unlike its members are."""
    return {
        "evolution/mutation_rate": strength.rate,
        "evolution/mutation_std": strength.std,
        "evolution/plateau": strength.stagnant,
        "evolution/diversity": diversity,
    }


def of_importance(outcomes: "list[Outcome]", columns: tuple[str, ...]) -> Row:
    """Entropy of the mean attention over columns, 1 where all get the same; the column that gets most."""
    weights = np.mean([outcome.importance for outcome in outcomes], axis=0, dtype=np.float64)
    weights = weights / weights.sum()
    entropy = -float((weights * np.log(weights + 1e-12)).sum()) / float(np.log(max(len(weights), 2)))
    return {"importance/entropy": entropy, "importance/top": columns[int(weights.argmax())]}
