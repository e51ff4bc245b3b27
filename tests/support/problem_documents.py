"""Problem documents, which answer a request that failed."""

from typing import Any

import httpx


def assert_problem(answer: httpx.Response, status: int, *words: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert document["type"].startswith("/docs#")
    assert document["title"]
    for word in words:
        assert word in document["detail"]
    return document
