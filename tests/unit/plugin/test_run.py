"""The command ``run``: the wait for one run, its outcome, and the documents for a pipeline."""

from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from kubectl_diffusion.run.junit import junit
from kubectl_diffusion.run.outcome import (
    Ending,
    Outcome,
    outcome_of_comparison,
    outcome_of_test,
)
from kubectl_diffusion.run.progress import Line, line_of
from kubectl_diffusion.run.waiting import RUN_AT, Clock, WaitedTooLongError, ended_run
from kubectl_diffusion.terminal.durations import seconds
from kubectl_diffusion.terminal.errors import ClusterAwayError, PluginError
from user_text import NASTY

Object = dict[str, Any]


def ended(
    run_at: str = "now", state: str = "Complete", *, slo: str | None = "True", valid: str = "True"
) -> Object:
    conditions = {"Complete": str(state == "Complete"), "Failed": str(state == "Failed")}
    conditions["Valid"] = valid
    if slo is not None:
        conditions["SLOMet"] = slo
    return {
        "run": "abc",
        "runAt": run_at,
        "state": state,
        "startTime": "2026-01-01T00:00:00Z",
        "completionTime": "2026-01-01T00:01:30Z",
        "conditions": [
            {
                "type": name,
                "status": value,
                "reason": f"Reason{name}",
                "message": f"the answer is {value}",
            }
            for name, value in conditions.items()
        ],
    }


def resource(status: Object | None, annotation: str = "now", **spec: Any) -> Object:
    metadata = {"name": "demo", "generation": 2, "annotations": {RUN_AT: annotation}}
    return {"metadata": metadata, "spec": spec, **({"status": status} if status else {})}


def wait(*looks: Object | Exception, timeout: float = 60) -> tuple[Mapping[str, Any], list[Line]]:
    """The resource at the end and the lines shown, on a clock that only the pauses move."""
    answers: Iterator[Object | Exception] = iter(looks)
    lines: list[Line] = []
    time = [0.0]

    def look() -> Object:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def pause(seconds: float) -> None:
        time[0] += seconds

    end = ended_run(look, "now", timeout, Clock(lambda: time[0], pause), lines.append)
    return end, lines


def test_the_verdict_of_an_earlier_run_is_never_returned() -> None:
    earlier, running = resource(ended("before")), resource({"runAt": "now", "state": "Running"})
    end, lines = wait(earlier, earlier, running, resource(ended("now", slo="False")))
    assert outcome_of_test(end["status"]).ending is Ending.MISSED_SLO
    assert len(lines) == 3


def test_a_spec_that_begins_no_run_ends_the_wait() -> None:
    invalid = {**ended("", "Failed"), "run": "", "observedGeneration": 1}
    end, lines = wait(resource(invalid), resource({**invalid, "observedGeneration": 2}))
    assert len(lines) == 1  # the first status is of an earlier spec
    assert outcome_of_test(end["status"]).ending is Ending.FAILED


def test_a_cluster_that_is_away_for_a_while_ends_no_wait() -> None:
    end, lines = wait(ClusterAwayError("the cluster does not respond"), resource(ended()))
    assert end["status"]["runAt"] == "now"
    assert lines == [Line("away", "the cluster does not respond")]


@pytest.mark.parametrize(
    ("look", "sentence"),
    [
        (resource(ended("other"), annotation="other"), "another run of 'demo' was asked for"),
        (resource(None, suspend=True), "set spec.suspend to false"),
        (PluginError("there is no LoadTest 'demo'"), "there is no LoadTest"),
    ],
)
def test_a_run_that_can_not_end_is_told_at_once(look: Any, sentence: str) -> None:
    with pytest.raises(PluginError, match=sentence):
        wait(look)


def test_the_end_of_the_time_says_where_the_run_stands() -> None:
    waiting = {"state": "Waiting", "conditions": ended(state="Running")["conditions"]}
    with pytest.raises(
        WaitedTooLongError, match=r"within 3 s: demo: Waiting \(the answer is False\)"
    ):
        wait(*[resource(waiting)] * 3, timeout=3)


@pytest.mark.parametrize(
    ("status", "ending"),
    [
        (ended(), Ending.MET),
        (ended(slo=None), Ending.MET),
        (ended(slo="False"), Ending.MISSED_SLO),
        (ended(slo="Unknown"), Ending.INVALID),
        (ended(valid="False", slo="False"), Ending.INVALID),
        (ended(valid="Unknown"), Ending.INVALID),
        (ended(state="Failed", slo="False", valid="False"), Ending.FAILED),
        ({"run": "abc", "state": "Complete"}, Ending.INVALID),
    ],
)
def test_the_outcome_of_a_load_test_has_one_ending(status: Object, ending: Ending) -> None:
    outcome = outcome_of_test(status)
    assert outcome.ending is ending
    assert outcome.message


@pytest.mark.parametrize(
    ("regressed", "slo", "ending", "tag"),
    [
        ("False", "True", Ending.MET, "passed"),
        ("True", "True", Ending.REGRESSED, "failure"),
        ("True", "False", Ending.MISSED_SLO, "failure"),
        ("Unknown", None, Ending.INVALID, "skipped"),
    ],
)
def test_a_regression_has_an_ending_of_its_own(
    regressed: str, slo: str | None, ending: Ending, tag: str
) -> None:
    status = ended(slo=slo)
    verdict = {"type": "Regressed", "status": regressed, "reason": "R", "message": "p95 +12%"}
    status["conditions"].append(verdict)
    outcome = outcome_of_test(status)
    assert outcome.ending is ending
    assert suite(status, outcome)[1]["Regressed"] == tag


def compared(*met: bool | None, comparable: str = "True", state: str = "Complete") -> Object:
    rows = [{"variant": f"v{n}", "sloMet": each} for n, each in enumerate(met)]
    broken = {"variant": "broken", "reason": "NotReady", "message": "no pod", "sloMet": False}
    verdict = {"type": "Comparable", "status": comparable, "reason": "R", "message": "alike"}
    return {"state": state, "conditions": [verdict], "results": [*rows, broken], "conclusion": "c"}


@pytest.mark.parametrize(
    ("status", "ending"),
    [
        (compared(True, False), Ending.MET),
        (compared(None, None), Ending.MET),
        (compared(False, False), Ending.MISSED_SLO),
        (compared(True, comparable="False"), Ending.INVALID),
        (compared(state="Failed"), Ending.FAILED),
    ],
)
def test_the_outcome_of_a_comparison_has_one_ending(status: Object, ending: Ending) -> None:
    assert outcome_of_comparison(status).ending is ending


def test_exit_codes_tell_the_endings_apart() -> None:
    assert [int(each) for each in Ending] == [0, 3, 4, 5, 6, 7]


def suite(status: Object, outcome: Outcome) -> tuple[ET.Element, dict[str, str]]:
    """The suite of the document, and the tag of each case's result."""
    element = ET.fromstring(junit("LoadTest shop/demo", status, outcome)).find("testsuite")  # noqa: S314 # our own
    assert element is not None
    cases = element.findall("testcase")
    tags = {str(case.get("name")): next((part.tag for part in case), "passed") for case in cases}
    return element, tags


@pytest.mark.parametrize(
    ("status", "tags"),
    [
        (ended(), ("passed", "passed", "passed", "passed")),
        (ended(slo="False"), ("failure", "passed", "passed", "failure")),
        (ended(valid="False"), ("error", "passed", "error", "passed")),
        (ended(slo="Unknown"), ("error", "passed", "passed", "skipped")),
        (ended(state="Failed", valid="False"), ("error", "error", "error", "passed")),
    ],
)
def test_junit_tells_a_missed_slo_from_a_run_without_a_verdict(
    status: Object, tags: tuple[str, ...]
) -> None:
    element, cases = suite(status, outcome_of_test(status))
    assert cases == dict(zip(("verdict", "Complete", "Valid", "SLOMet"), tags, strict=True))
    assert element.get("failures") == str(tags.count("failure"))
    assert element.get("errors") == str(tags.count("error"))
    assert element.get("time") == "90"


def test_junit_of_a_comparison_has_a_case_for_each_variant() -> None:
    status = compared(True, False)
    _, cases = suite(status, outcome_of_comparison(status))
    assert cases["variant v0"] == "passed"
    assert cases["variant v1"] == "failure"
    assert cases["variant broken"] == "skipped"


def test_junit_of_a_run_without_a_status_is_an_error() -> None:
    element, cases = suite({}, Outcome(Ending.TIMEOUT, "no verdict within 3 s", ()))
    assert cases == {"verdict": "error"}
    assert element.get("time") == "0"


def test_junit_holds_any_text_and_no_character_that_xml_forbids() -> None:
    element, _ = suite({}, Outcome(Ending.FAILED, f"{NASTY}\x00\x1b\ud83c", ()))
    error = element.find("testcase/error")
    assert error is not None
    # A carriage return is a line feed to any reader of XML.
    assert error.text == NASTY.replace("\x01", "\ufffd").replace("\r", "\n") + 3 * "\ufffd"


def test_progress_has_a_phase_a_stage() -> None:
    progress = {"stage": 2, "stages": 3, "users": 8, "requests": 40, "elapsedSeconds": 12}
    line = line_of({"state": "Running", "progress": {**progress, "failures": 1}}, "lt/demo")
    assert line.phase == "stage 2 of 3"
    assert line.text == "lt/demo: stage 2 of 3, 8 users, 40 requests, 1 failed, 12 s"
    study = line_of({"state": "Running", "progress": "1/15", "variant": "litserve"}, "cmp/a")
    assert study.text == "cmp/a: Running 1/15 litserve"


def test_durations_have_units() -> None:
    assert (seconds("90s"), seconds("1h30m")) == (90, 5400)
    with pytest.raises(Exception, match="is no duration: write for example 90s"):
        seconds("90")
