"""GitHub's expressions, with the operators and functions that the workflows use."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

_TOKEN = re.compile(r"\s*('(?:[^']|'')*'|&&|\|\||==|!=|!|[(),]|-?\d+\b|[A-Za-z_][\w.-]*)")
_WORDS = {"&&": " and ", "||": " or ", "!": " not ", "true": "True", "false": "False"}
_PLACE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)

Functions = Mapping[str, Callable[..., Any]]


def _filled(pattern: str, *values: Any) -> str:
    return pattern.format(*values)


FUNCTIONS: Functions = {
    "format": _filled,
    "fromJSON": json.loads,
    "contains": lambda values, value: value in values,
}


def look_up(context: Mapping[str, Any], path: str) -> Any:
    """The value at a path such as ``github.event.label.name``; an absent one is empty."""
    value: Any = context
    for name in path.split("."):
        value = value.get(name, "") if isinstance(value, Mapping) else ""
    return value


def evaluate(expression: str, context: Mapping[str, Any], functions: Functions) -> Any:
    """The value of an expression without its braces.

    Raises:
        ValueError: The expression has a character that this evaluator doesn't know.
    """
    known = {**FUNCTIONS, **functions}
    parts, at, text = [], 0, expression.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"{text!r} is not understood at {text[at:]!r}")
        token, at = match[1], match.end()
        calls = text[at : at + 1] == "("
        if token.startswith("'"):
            parts.append(repr(token[1:-1].replace("''", "'")))
        elif token in _WORDS:
            parts.append(_WORDS[token])
        elif token[0].isalpha() and not calls:
            parts.append(f"_get({token!r})")
        else:
            parts.append(token)
    names = {"_get": lambda path: look_up(context, path), "__builtins__": {}}
    return eval("".join(parts), {**names, **known})  # noqa: S307 - only tokens from above


def filled(text: str, context: Mapping[str, Any], functions: Functions) -> str:
    """The text with each expression in braces replaced by its value."""

    def value(match: re.Match[str]) -> str:
        shown = evaluate(match[1], context, functions)
        return {True: "true", False: "false", None: ""}.get(shown, str(shown))

    return _PLACE.sub(value, text)
