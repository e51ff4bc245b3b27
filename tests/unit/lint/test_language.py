import subprocess
import tomllib
from pathlib import Path

import pytest

from lint import language
from lint.language import check, findings, main
from lint.texts import Text, markdown_texts, page_texts, python_texts

SETTINGS = tomllib.loads((language.ROOT / "pyproject.toml").read_text())["tool"]["language"]

REWRITTEN = [
    (
        "Have it looked at: at once what is new, and later what was looked at as it is asked",
        "Enqueue now if the generation is unobserved, else after the settle delay",
    ),
    ("What went while no one was told", "Detects objects deleted during a watch gap"),
    (
        "It must not lead from pods that serve to pods whose maker is refused",
        "Don't switch the selector until the new workload is accepted",
    ),
    ("the server ended of a defect", "unhandled exception; exiting"),
    (
        "what has is finished for nobody",
        "a running request completes and its result is discarded",
    ),
    (
        "what is by chance about a pod would count twice else",
        "otherwise pod-specific noise is counted twice",
    ),
    ("nothing moves until this is mended", "no progress until this is fixed"),
    ("pods are wanted", "replicas is above 0"),
    ("Make", "Generate"),
    ("The same by program", "API documentation"),
]


def reasons(text: str, *, docstring: bool = False) -> list[str]:
    return [each.reason for each in check(Text(1, text, docstring), SETTINGS["retired"])]


@pytest.mark.parametrize(("before", "after"), REWRITTEN)
def test_old_sentence_is_refused_and_its_rewrite_passes(before: str, after: str) -> None:
    assert reasons(before)
    assert not reasons(after)
    assert not reasons(after, docstring=True)


@pytest.mark.parametrize(
    "grammar",
    [
        "Have it looked at: at once what is new, and later what was looked at as it is asked",
        "What went while no one was told",
        "It must not lead from pods that serve to pods whose maker is refused",
        "what has is finished for nobody",
        "what is by chance about a pod would count twice else",
        "The same by program",
        "Whoever starts a run waits.",
        "Whose turn it is, is written down.",
        "The pod starts. They come one by one.",
        "The pod starts.\n\nThat is all.",
        "Those that were begun in the stage.",
        "These have an end.",
        "One that is idle is closed.",
        "(who knows)",
        "**It** is bold.",
    ],
)
def test_grammar_alone_refuses(grammar: str) -> None:
    assert list(check(Text(1, grammar), {}))


@pytest.mark.parametrize(
    "plain",
    [
        "This operator serves models, e.g. it runs three of them.",
        "The message says what to write instead. Nobody knows who wrote it.",
        "That pod serves. These pods wait.",
        "Returns the pods that were begun, or those of the last run.",
        "Its owner is the Deployment.",
        "Iterates over pods; italics are fine.",
    ],
)
def test_plain_sentence_passes(plain: str) -> None:
    assert not reasons(plain, docstring=True)


@pytest.mark.parametrize(
    "late", ["When a request is due.", "Of latencies in seconds.", "There is one pod."]
)
def test_docstring_that_starts_late_is_refused_and_a_comment_is_not(late: str) -> None:
    assert reasons(late, docstring=True)
    assert not reasons(late)


def test_prose_of_python_is_docstrings_comments_and_messages() -> None:
    source = (
        '"""A module."""\n'
        "# first line\n"
        "# second line\n"
        "x = 1  # beside code\n"
        "y = z  # noqa: E501  the reason\n"
        "# type: ignore[x]\n"
        'KEY = "key"\n'
        '"""The key."""\n'
        "def f() -> None:\n"
        '    raise ValueError(f"the pod {x} is "\n'
        '        "not there")\n'
    )
    texts = {(text.line, text.text, text.is_docstring) for text in python_texts(source)}
    assert texts >= {
        (1, "A module.", True),
        (2, "first line\nsecond line", False),
        (4, "beside code", False),
        (5, "the reason", False),
        (8, "The key.", True),
        (10, "the pod `…` is not there", False),
    }
    assert not any(text == "key" for _, text, _ in texts)


def test_prose_of_markdown_has_no_code() -> None:
    source = (
        "# Title\n\nOne `what` line\nand another.\n\n```\nwhat is code\n```\n\n"
        "| a |\n|---|\n| b |\n"
    )
    texts = [(text.line, text.text) for text in markdown_texts(source)]
    assert texts == [(1, "Title"), (3, "One `…` line\nand another."), (10, "a"), (12, "b")]


def test_prose_of_a_page_has_neither_styles_nor_template_code() -> None:
    source = (
        "<style>what {}</style>\n{% if what %}\n<h1>Load {{ what }}</h1>\n<button>Make</button>"
    )
    assert [(text.line, text.text) for text in page_texts(source)] == [
        (2, "…"),
        (3, "Load …"),
        (4, "Make"),
    ]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("found = 1\n", "found"),
        ("def asked() -> None: ...\n", "asked"),
        ("def f(told: int) -> None: ...\n", "told"),
        ("class A:\n    def f(self) -> None:\n        self._wanted = 1\n", "_wanted"),
        ("for said in ():\n    pass\n", "said"),
        ("class Wanted: ...\n", "Wanted"),
    ],
)
def test_participle_is_refused_as_an_identifier(tmp_path: Path, source: str, name: str) -> None:
    path = tmp_path / "module.py"
    path.write_text(source)
    assert [each.sentence for each in findings(path, {})] == [name]


def test_participle_passes_within_a_name_and_as_another_objects_attribute(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("not_found = 1\nprint(response.found, call(asked=2))\n")
    assert findings(path, {}) == []


def test_report_names_file_line_sentence_and_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[tool.language]\nexempt = ['old']\n[tool.language.retired]\n'mended' = 'fixed'\n"
    )
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "page.md").write_text("What is old.\n")
    (tmp_path / "new.md").write_text("A line.\n\nA pod waits.\nIt\nwaits until mended.\n")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setattr(language, "ROOT", tmp_path)
    assert main([]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "new.md:4: It waits until mended.: begins with a pronoun instead of its noun",
        "new.md:4: It waits until mended.: write 'fixed' instead of 'mended'",
    ]
    assert main(["old"]) == 1
    assert capsys.readouterr().out.startswith("old/page.md:1: What is old.: begins with what")
