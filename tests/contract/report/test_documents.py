"""The runner's report, as the runner's own model writes it, fed to the plugin."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from diffusion_loadtest.report.load_report import Report as RunnersReport
from kubectl_diffusion.documents.load_report import Report
from load_reports import nothing_answered, ramp, search

Object = dict[str, Any]


@pytest.mark.parametrize("made", [ramp, search, nothing_answered])
def test_the_plugin_reads_what_the_runner_writes(made: Callable[[], Object]) -> None:
    written = json.loads(
        RunnersReport.model_validate_json(json.dumps(made())).model_dump_json(by_alias=True)
    )
    read = json.loads(
        Report.model_validate_json(json.dumps(written)).model_dump_json(by_alias=True)
    )
    assert covers(written, read), "a field has another name or value"


def covers(written: Any, read: Any) -> bool:
    """Whether each field that was read has its written value; other fields don't matter."""
    if isinstance(read, dict):
        return all(name in written and covers(written[name], read[name]) for name in read)
    if isinstance(read, list):
        return len(written) == len(read) and all(map(covers, written, read))
    return bool(written == read)
