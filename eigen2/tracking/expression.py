"""Arithmetic over metrics, such as `0.7 * fitness/best_ever + 0.3 * final/win_rate`, without running anything."""

import ast
import math
import operator
import re
from collections.abc import Callable, Collection, Mapping

from rapidfuzz import process

from eigen2.errors import ConfigError, brief, brief_name

MOST_CHARACTERS = 2_000  # longer expressions would reach the limits of Python's parser
METRIC = re.compile(r"[A-Za-z_]+/[A-Za-z_]+")  # a metric's name; division is written with spaces
OPERATORS: dict[type[ast.AST], Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


class UndefinedError(ConfigError):
    """These metrics give an expression no value; others may."""


class ShortNameError(Exception):
    """Words stand where full names of metrics belong."""


def metrics_in(text: str) -> list[str]:
    """The names of the metrics in an expression, in order."""
    return METRIC.findall(text)


def check(text: str, known: Collection[str]) -> None:
    """Raise ConfigError unless an expression is arithmetic over known metrics, with a value where all have one."""
    _check_length(text)
    for name in metrics_in(text):
        if name not in known:
            nearest = process.extractOne(name, list(known))
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise ConfigError(f"{brief(text)} names {name}, which is no metric{hint}")
    # no two alike, so that a difference of two metrics is not 0
    evaluate(text, {name: math.sqrt(2 + place) for place, name in enumerate(known)})


def evaluate(text: str, metrics: Mapping[str, float | int | str]) -> float:
    """The value of an expression of numbers, metrics, + - * / and parentheses: a finite number.

    Raises ConfigError naming what can't be understood; UndefinedError where a metric isn't there, or is not finite, and
    where the result divides by zero or is not finite.
    """
    _check_length(text)
    names = metrics_in(text)
    for name in names:
        if not _is_finite(metrics.get(name)):
            raise UndefinedError(f"{brief(text)} names {name}, which is no finite number among the metrics")
    numbers = iter(names)
    plain = METRIC.sub(lambda _: f"({float(metrics[next(numbers)])!r})", text)
    try:
        tree = ast.parse(plain.strip(), mode="eval")
        value = _value(tree.body)
    except ShortNameError as error:
        words = dict.fromkeys(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
        instead = "; ".join(_full_names(word, metrics) for word in words)
        raise ConfigError(f"{brief(text)} needs full names of metrics: {instead}") from error
    except ZeroDivisionError as error:
        raise UndefinedError(f"{brief(text)} divides by zero") from error
    except OverflowError as error:
        raise ConfigError(f"{brief(text)} holds a number that is too large; write at most 1e308") from error
    except RecursionError as error:
        raise ConfigError(f"{brief(text)} is nested too deeply; write it with fewer signs and parentheses") from error
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"{brief(text)} is no expression of numbers and metrics") from error
    if not math.isfinite(value):
        raise UndefinedError(f"{brief(text)} has no finite value; write smaller numbers")
    return value


def value_of(text: str, metrics: Mapping[str, float | int | str]) -> float | None:
    """The value of a checked expression, or None while these metrics give it none."""
    try:
        return evaluate(text, metrics)
    except UndefinedError:
        return None


def _check_length(text: str) -> None:
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(
            f"the expression {brief(text)} has {len(text)} characters; write one of at most {MOST_CHARACTERS}"
        )


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _value(node: ast.AST) -> float:
    match node:
        case ast.Constant(value=bool() | str() | bytes() | None):
            raise ValueError(node)
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return OPERATORS[type(op)](_value(left), _value(right))
        case ast.UnaryOp(op=op, operand=operand) if type(op) in OPERATORS:
            return OPERATORS[type(op)](_value(operand))
        case ast.Name():
            raise ShortNameError
        case _:
            raise ValueError(node)


def _full_names(word: str, known: Collection[str]) -> str:
    """What to write instead of a word that is a part of metrics' names, or near to one."""
    full = [name for name in known if word in name.split("/")]
    nearest = process.extractOne(word, list(known)) if not full else None
    if nearest:
        full = [nearest[0]]
    return f"for {brief_name(word)} write {', '.join(full[:-1])}{' or ' if full[:-1] else ''}{full[-1]}"
