"""CEL: expressions of Google's conditions, evaluated by the reference implementation."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from checkers import cel

Question = tuple[str, Mapping[str, Any]]
"""An expression and its variables."""


def evaluate_all(questions: Sequence[Question]) -> list[Any]:
    """The value of each expression; an expression with an error, such as a missing claim, is None.

    Google refuses a token for which its condition has an error.
    """
    lines = [json.dumps({"expression": each, "variables": given}) for each, given in questions]
    done = subprocess.run(
        [cel()], input="\n".join(lines), capture_output=True, text=True, check=True
    )
    return [json.loads(line).get("value") for line in done.stdout.splitlines()]


def evaluate(expression: str, variables: Mapping[str, Any]) -> Any:
    """The value of one expression."""
    return evaluate_all([(expression, variables)])[0]
