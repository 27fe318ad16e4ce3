"""Arithmetic on what a model wrote.

Time and memory are bounded by the form alone: an expression is short, every number on the way has a bounded size, and
nothing but numbers, operators and the listed functions is evaluated.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from simpleeval import InvalidExpression, SimpleEval

MAX_CHARACTERS: Final = 300
# 1,200 decimal digits; a product of two such numbers takes microseconds.
MAX_BITS: Final = 4_096
MAX_DEPTH: Final = 40
SIGNIFICANT_DIGITS: Final = 12

Number = int | float


class NotCalculable(ValueError):
    """The expression cannot be calculated; the message says what to write instead."""


def calculate(expression: str) -> str:
    """Return the value of an arithmetic expression as text; NotCalculable when there is none.

    Integers are exact, other numbers have 12 significant digits. `^` stands for a power like `**`.
    """
    if len(expression) > MAX_CHARACTERS:
        raise NotCalculable(f"the expression is longer than {MAX_CHARACTERS} characters; calculate it in parts")
    tree = _parsed(expression.strip().translate(_SIGNS))
    try:
        return _text(_evaluator().eval("", previously_parsed=tree.body))
    except NotCalculable:
        raise
    except ZeroDivisionError:
        raise NotCalculable("division by zero") from None
    except (ArithmeticError, ValueError, TypeError, InvalidExpression) as error:
        raise NotCalculable(f"it has no value: {str(error)[:100]}") from None


_SIGNS: Final = str.maketrans({"^": "**", "×": "*", "·": "*", "÷": "/", "−": "-", "–": "-"})  # noqa: RUF001
_NODES: Final = (
    ast.Expression,
    ast.BinOp,
    ast.UnaryOp,
    ast.Compare,
    ast.Call,
    ast.Name,
    ast.Load,
    ast.Constant,
    ast.operator,
    ast.unaryop,
    ast.cmpop,
)


def _parsed(expression: str) -> ast.Expression:
    try:
        tree = ast.parse(expression, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise NotCalculable(
            "it is no arithmetic expression; write for example (17 / 100) * 1250, without units, and without commas"
            " between thousands"
        ) from None
    _check(tree, 0)
    return tree


def _check(node: ast.AST, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise NotCalculable("the expression is nested too deeply")
    if not isinstance(node, _NODES):
        raise NotCalculable("only numbers, + - * / // % ** ( ), comparisons and functions can be used")
    if isinstance(node, ast.Constant):
        _bounded(node.value)
    if isinstance(node, ast.Call) and (node.keywords or not isinstance(node.func, ast.Name)):
        raise NotCalculable(f"only these functions can be used: {', '.join(_FUNCTIONS)}")
    for child in ast.iter_child_nodes(node):
        _check(child, depth + 1)


def _bounded(value: Any) -> Number:
    if isinstance(value, bool):
        return value
    if not isinstance(value, int | float):
        raise NotCalculable("only numbers can be calculated with")
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise NotCalculable("the numbers get too large")
    if isinstance(value, float) and not math.isfinite(value):
        raise NotCalculable("the numbers get too large")
    return value


def _keeping_bounds(function: Callable[..., Any]) -> Callable[..., Number]:
    def bounded(*arguments: Any) -> Number:
        return _bounded(function(*map(_bounded, arguments)))

    return bounded


def _power(base: Number, exponent: Number) -> Any:
    whole = isinstance(base, int) and isinstance(exponent, int)
    # Before it is computed: afterwards would be too late.
    if whole and abs(base) > 1 and exponent > 0 and int(base).bit_length() * exponent > 2 * MAX_BITS:
        raise NotCalculable("the numbers get too large")
    return base**exponent


def _round(number: Number, digits: Number = 0) -> Number:
    places = max(-300, min(300, int(digits)))
    return round(number, places) if places else round(number)


_OPERATORS: Final[Mapping[type[ast.AST], Callable[..., Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "abs": abs,
    "round": _round,
    "min": min,
    "max": max,
    "sqrt": math.sqrt,
    "floor": math.floor,
    "ceil": math.ceil,
    "exp": math.exp,
    "log": math.log,
    "log10": math.log10,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
}
_NAMES: Final = {"pi": math.pi, "e": math.e}


def _evaluator() -> SimpleEval:
    return SimpleEval(
        operators={node: _keeping_bounds(function) for node, function in _OPERATORS.items()},
        functions={name: _keeping_bounds(function) for name, function in _FUNCTIONS.items()},
        names=dict(_NAMES),
    )


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    number = _bounded(value)
    if isinstance(number, int):
        return str(number)
    text = f"{number:.{SIGNIFICANT_DIGITS}g}"
    return text.removesuffix(".0")
