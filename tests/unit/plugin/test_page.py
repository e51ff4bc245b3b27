"""Pages and tables of a report whose texts hold what their notation could take for its own."""

import csv
import io
import json
from html.parser import HTMLParser

from kubectl_diffusion.report.loadtest.document import of_file
from kubectl_diffusion.report.loadtest.page import html
from kubectl_diffusion.report.loadtest.tables import as_csv, as_markdown
from load_reports import nothing_answered
from user_text import NASTY


class Reader(HTMLParser):
    """Reader of a page's text and of its elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.elements: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, _: object) -> None:
        self.elements.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_page_shows_a_users_text_to_the_letter_and_runs_none_of_it() -> None:
    report = nothing_answered()
    report["error"] = {"reason": "TargetUnreachable", "message": NASTY}
    report["target"]["url"] = f"http://host/{NASTY}"
    report["target"]["fingerprint"]["model"] = NASTY
    page = Reader(html(of_file(json.dumps(report), NASTY)))
    assert sum(NASTY in text for text in page.texts) >= 3
    assert not page.elements & {"script", "b"}


def test_a_table_is_a_table_whatever_the_texts_are() -> None:
    document = of_file(json.dumps(nothing_answered()), NASTY)
    rows = list(csv.reader(io.StringIO(as_csv(document))))
    assert len({len(row) for row in rows}) == 1
    assert NASTY in as_markdown(document)
