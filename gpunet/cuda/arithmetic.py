"""Evaluate arithmetic in the comments of sources, such as sizes, launches and FLOPs. No other Python is evaluated."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any

_NODES = (
    *(ast.Expression, ast.Tuple, ast.BinOp, ast.UnaryOp, ast.Name, ast.Load, ast.Call),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.USub),
)


def parse_arithmetic(text: str, functions: Mapping[str, Callable[..., int]] | None = None) -> CodeType:
    """Compile an expression of whole numbers, names, + - * / // % and calls of `functions`, for `evaluate`.

    Raises:
        SyntaxError: the text is not such an expression.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
        _check_arithmetic(tree, functions or {})
        return compile(tree, text, "eval")
    except (RecursionError, MemoryError):  # Python's parser and compiler raise either
        raise SyntaxError("the expression is nested too deeply") from None


def _check_arithmetic(tree: ast.Expression, functions: Mapping[str, Callable[..., int]]) -> None:
    for node in ast.walk(tree):
        is_number = isinstance(node, ast.Constant) and type(node.value) is int
        if not isinstance(node, _NODES) and not is_number:
            raise SyntaxError(f"{ast.unparse(node)!r} is not arithmetic of whole numbers")
        if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id in functions):
            raise SyntaxError(f"{ast.unparse(node.func)!r} is not a known function")


def evaluate(
    code: CodeType, names: Mapping[str, int], functions: Mapping[str, Callable[..., int]] | None = None
) -> Any:
    """Return the value of an expression from `parse_arithmetic`.

    Raises:
        NameError: a name without a value.
        ZeroDivisionError: a division by zero.
    """
    return eval(code, {"__builtins__": {}, **(functions or {})}, dict(names))
