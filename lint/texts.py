"""Prose of a file: docstrings, comments, messages, Markdown and pages.

markdown-it-py parses Markdown; the standard library parses Python and HTML.
"""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator, Mapping
from html.parser import HTMLParser
from typing import NamedTuple

from markdown_it import MarkdownIt

_DIRECTIVE = re.compile(r"(noqa|type: ignore|pragma|fmt|ruff)\b(:?\s*[\[\]A-Za-z0-9, -]*?  |.*)")
_TEMPLATE = re.compile(r"{([%{#]).*?[%}#]}", re.DOTALL)
_WORDS_OF_PROSE = 3


class Text(NamedTuple):
    """A piece of prose, and the line that it begins on."""

    line: int
    text: str
    is_docstring: bool = False


def python_texts(source: str) -> Iterator[Text]:
    """Yields docstrings, comments, and string literals of three words or more."""
    yield from _comments(source)
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes:
        match node:
            case ast.JoinedStr(values=values):
                literal = "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "`…`" for part in values
                )
            case ast.Constant(value=str(literal)) if id(node) not in parts:
                pass
            case _:
                continue
        if id(node) in docstrings:
            yield Text(node.lineno, literal, is_docstring=True)
        elif len(literal.split()) >= _WORDS_OF_PROSE:
            yield Text(node.lineno, " ".join(literal.split()))


def _comments(source: str) -> Iterator[Text]:
    """Yields comments; adjacent comments on lines of their own are one text."""
    block: list[str] = []
    first = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line, column = token.start
        words = _DIRECTIVE.sub("", token.string.lstrip("#!: "), count=1).strip()
        shares_line = bool(token.line[:column].strip())
        if block and (shares_line or line != first + len(block)):
            yield Text(first, "\n".join(block))
            block = []
        if shares_line:
            yield Text(line, words)
        else:
            first = first if block else line
            block.append(words)
    yield Text(first, "\n".join(block))


def markdown_texts(source: str) -> Iterator[Text]:
    """Yields paragraphs, headings, list items and table cells, without code."""
    for token in MarkdownIt("commonmark").enable("table").parse(source):
        if token.type == "inline" and token.map is not None:
            children = token.children or ()
            parts = {"softbreak": "\n", "hardbreak": "\n", "code_inline": "`…`"}
            words = [parts.get(child.type, child.content) for child in children]
            yield Text(token.map[0] + 1, "".join(words))


def page_texts(source: str) -> Iterator[Text]:
    """Yields the texts of an HTML page or of its template."""
    texts: list[Text] = []

    class Reader(HTMLParser):
        def handle_data(self, data: str) -> None:
            if self.cdata_elem is None and data.strip():
                blank = data[: len(data) - len(data.lstrip())]
                texts.append(Text(self.getpos()[0] + blank.count("\n"), data.strip()))

    Reader().feed(_TEMPLATE.sub(lambda match: "…" + "\n" * match[0].count("\n"), source))
    yield from texts


READERS: Mapping[str, Callable[[str], Iterator[Text]]] = {
    ".py": python_texts,
    ".md": markdown_texts,
    ".html": page_texts,
    ".j2": page_texts,
}
