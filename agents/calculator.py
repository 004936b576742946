"""Arithmetic for models, which are bad at it: a small evaluator with limits; never `eval`."""

import ast
import math
import operator
import re
from collections.abc import Callable

MAX_EXPRESSION_CHARACTERS = 500
#: About 1,200 digits. Larger integers take time and are of no use to a model.
MAX_INTEGER_BITS = 4096
#: Levels of parentheses, signs and functions.
MAX_DEPTH = 50

type Number = int | float

#: What may reach Python's parser: numbers, names, signs. Possessive, so that every text is refused quickly.
NUMBER = r"(?:\d[\d_]*+(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?(?![\w.])"
EXPRESSION = re.compile(rf"(?: ?(?:{NUMBER}|[a-z]\w*+|[-+*/%(),]))++")

FUNCTIONS: dict[str, Callable[..., Number]] = {
    "abs": abs,
    "ceil": math.ceil,
    "cos": math.cos,
    "degrees": math.degrees,
    "exp": math.exp,
    "floor": math.floor,
    "gcd": math.gcd,
    "hypot": math.hypot,
    "log": math.log,
    "log10": math.log10,
    "log2": math.log2,
    "max": max,
    "min": min,
    "radians": math.radians,
    "round": round,
    "sin": math.sin,
    "sqrt": math.sqrt,
    "tan": math.tan,
}
CONSTANTS = {"pi": math.pi, "e": math.e, "tau": math.tau}

BINARY: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


class CalculationError(ValueError):
    """An expression without a value; the message is for the model."""


def evaluate(expression: str) -> str:
    """Return the value of an expression such as `(2 + 3) ** 4 / sqrt(2)`. Raises CalculationError."""
    if len(expression) > MAX_EXPRESSION_CHARACTERS:
        raise CalculationError(
            f"The expression is longer than {MAX_EXPRESSION_CHARACTERS} characters. Calculate it in parts."
        )
    # Unusual texts could make Python's parser issue warnings.
    expression = " ".join(expression.split())
    if not EXPRESSION.fullmatch(expression):
        raise CalculationError(
            "The expression may contain numbers, + - * / // % **, parentheses and commas, "
            f"{', '.join(CONSTANTS)} and the functions {', '.join(FUNCTIONS)}."
        )
    try:
        value = _compute(ast.parse(expression, mode="eval").body, MAX_DEPTH)
    except CalculationError:
        raise
    except ZeroDivisionError:
        raise CalculationError("The expression divides by zero.") from None
    except OverflowError:
        raise CalculationError("The result is too large.") from None
    except (SyntaxError, RecursionError, MemoryError):
        raise CalculationError("The expression is incomplete or not arithmetic.") from None
    except (ValueError, TypeError) as error:
        raise CalculationError(f"The expression has no value: {error}.") from None
    return str(value)


def _compute(node: ast.expr, depth: int) -> Number:
    if depth <= 0:
        raise CalculationError("The expression is nested too deeply. Calculate it in parts.")
    match node:
        case ast.Constant(value=int() | float() as value):
            return _check_value(value)
        case ast.Name(id=name) if name in CONSTANTS:
            return CONSTANTS[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_compute(operand, depth - 1)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _compute(operand, depth - 1)
        case ast.BinOp(op=ast.Pow(), left=left, right=right):
            return _compute_power(_compute(left, depth - 1), _compute(right, depth - 1))
        case ast.BinOp(op=op, left=left, right=right) if type(op) in BINARY:
            return _check_value(BINARY[type(op)](_compute(left, depth - 1), _compute(right, depth - 1)))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in FUNCTIONS:
            return _check_value(FUNCTIONS[name](*(_compute(argument, depth - 1) for argument in arguments)))
    raise CalculationError("The expression is not arithmetic, or has an unknown name.")


def _compute_power(base: Number, exponent: Number) -> Number:
    # Checked before, because computing the power is what takes the time.
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * abs(exponent) > MAX_INTEGER_BITS:
        if abs(base) > 1:
            raise CalculationError("The power is too large to calculate.")
        exponent %= 2  # Powers of 1 and -1 repeat.
    value = base**exponent
    if isinstance(value, complex):
        raise CalculationError("The result is not a real number.")
    return _check_value(value)


def _check_value(value: Number) -> Number:
    if isinstance(value, int):
        if value.bit_length() > MAX_INTEGER_BITS:
            raise CalculationError("The result is too large.")
    elif not math.isfinite(value):
        raise CalculationError("The result is too large or not a number.")
    return value
