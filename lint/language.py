"""Language check: plain English in docstrings, comments, messages, pages and Markdown.

No library has these rules. Vale would read them from a configuration, but its package on PyPI
downloads a program when it first starts; proselint's rules are fixed and have other subjects.

    python -m lint.language [PATH...]     all files of the repository, or those below the paths

``[tool.language]`` in pyproject.toml lists the ``exempt`` paths and the ``retired`` phrases, each
with the glossary's word for it.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lint.texts import READERS, Text

ROOT = Path(__file__).resolve().parents[1]

_VERBS = (
    "is are was were has have had does do did can could will would may might must should shall "
    "isn't aren't wasn't weren't hasn't doesn't don't didn't can't won't means needs makes gives "
    "takes keeps says tells shows lets holds goes comes costs saves happens follows applies works"
)
_LINKS = "of in for with by from to on at as also only always never then that which who whose"
_AFTER_PRONOUN = "|".join((*_VERBS.split(), *_LINKS.split()))
_LATE = (
    "when where if as from of with in for at on by after before once while how why "
    "because since so to among between until unless although though there here than"
)
_PARTICIPLES = frozenset({"found", "wanted", "said", "told", "asked"})
_MARKS = r"^[\"'(*_\s]*"
_RULES = (
    (r"(what|who|whose|whom)(ever|soever)?\b", "begins with what, who or whose"),
    (r"(it|they|he|she)\b", "begins with a pronoun instead of its noun"),
    (rf"(this|that|these|those)\s+({_AFTER_PRONOUN})\b", "begins with a pronoun without its noun"),
    (r"one\s+(that|which|who|whose)\b", "begins with a pronoun without its noun"),
    (r"the\s+(same|latter|former)\s+(by|of|as|for|in|with|is|are|was)\b", "names no noun"),
)
_FIRST_RULES = (
    (r"(have|let|make|get|keep|give|put)\s+(it|them|him|her)\b", "names a pronoun before its noun"),
)
_DOCSTRING_RULES = (
    (rf"({'|'.join(_LATE.split())})\b", "starts late: say first what the thing is or does"),
)
_SENTENCE_END = re.compile(r"(?<!\be\.g\.)(?<!\bi\.e\.)(?<=[.!?])[\"')\]]*\s+|\n\s*\n|\n\s*[-*]\s+")


class Finding(NamedTuple):
    """A sentence, or an identifier, that a rule refuses."""

    line: int
    sentence: str
    reason: str


def check(text: Text, retired: Mapping[str, str]) -> Iterator[Finding]:
    """Yields a finding for each sentence and rule that refuses it."""
    start = 0
    for number, end in enumerate([*(m.end() for m in _SENTENCE_END.finditer(text.text)), None]):
        sentence = text.text[start:end]
        line = text.line + text.text.count("\n", 0, start)
        start = end or 0
        rules = _RULES
        if number == 0:
            rules = (*rules, *_FIRST_RULES, *(_DOCSTRING_RULES if text.is_docstring else ()))
        shown = " ".join(sentence.split())
        for pattern, reason in rules:
            if re.match(_MARKS + pattern, sentence, re.IGNORECASE):
                yield Finding(line, shown, reason)
        for phrase, better in retired.items():
            whole = phrase.startswith("^")
            flags = 0 if whole else re.IGNORECASE
            if re.search(phrase if whole else rf"\b{phrase}\b", shown, flags):
                yield Finding(line, shown, f"write {better!r} instead of {phrase.strip('^$')!r}")


def identifiers(source: str) -> Iterator[Finding]:
    """Yields the definitions whose name is a participle."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                pass
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
                pass
            case ast.Attribute(attr=name, ctx=ast.Store()) | ast.ClassDef(name=name):
                pass
            case _:
                continue
        if name.strip("_").lower() in _PARTICIPLES:
            yield Finding(node.lineno, name, "a participle is no noun: name the thing")


def findings(path: Path, retired: Mapping[str, str]) -> list[Finding]:
    """The findings in one file, by line."""
    source = path.read_text(encoding="utf-8")
    refused = [each for text in READERS[path.suffix](source) for each in check(text, retired)]
    if path.suffix == ".py":
        refused += identifiers(source)
    return sorted(refused)


def main(paths: Sequence[str]) -> int:
    """Prints each finding as ``file:line: sentence: reason``; 1 where there is one."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["language"]
    exempt = [] if paths else settings["exempt"]
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *paths],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    count = 0
    for name in listed.stdout.splitlines():
        path = ROOT / name
        skipped = any(Path(name).is_relative_to(each) for each in exempt)
        if path.suffix in READERS and path.is_file() and not skipped:
            for line, sentence, reason in findings(path, settings["retired"]):
                print(f"{name}:{line}: {sentence}: {reason}")
                count += 1
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
