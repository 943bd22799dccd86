"""Arithmetic over metrics, such as `0.7 * fitness/best_ever + 0.3 * final/win_rate`, without running anything."""

import ast
import operator
import re
from collections.abc import Callable, Collection, Mapping

from rapidfuzz import process

from eigen2.errors import ConfigError

METRIC = re.compile(r"[A-Za-z_]+/[A-Za-z_]+")  # a metric's name; division is written with spaces
OPERATORS: dict[type[ast.AST], Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


def metrics_in(text: str) -> list[str]:
    """The names of the metrics in an expression, in order."""
    return METRIC.findall(text)


def check(text: str, known: Collection[str]) -> None:
    """Raise ConfigError unless `evaluate` will have an answer once all known metrics have values."""
    for name in metrics_in(text):
        if name not in known:
            nearest = process.extractOne(name, list(known))
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise ConfigError(f"{text!r} names {name}, which is no metric{hint}")
    evaluate(text, dict.fromkeys(known, 1.0))


def evaluate(text: str, metrics: Mapping[str, float | int | str]) -> float:
    """The value of an expression of numbers, metrics, + - * / and parentheses.

    Raises ConfigError naming what can't be understood, a metric that isn't there, or a division by zero.
    """
    names = metrics_in(text)
    missing = [name for name in names if isinstance(metrics.get(name), str | None)]
    if missing:
        raise ConfigError(f"{text!r} names {missing[0]}, which is no number among the metrics")
    numbers = iter(names)
    plain = METRIC.sub(lambda _: f"({float(metrics[next(numbers)])!r})", text)
    try:
        return _value(ast.parse(plain.strip(), mode="eval").body)
    except (SyntaxError, RecursionError, ValueError) as error:
        raise ConfigError(f"{text!r} is no expression of numbers and metrics") from error
    except ZeroDivisionError as error:
        raise ConfigError(f"{text!r} divides by zero") from error


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
        case _:
            raise ValueError(node)
