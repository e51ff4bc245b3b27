"""Attempts of a Comparison whose client was too busy, against a real API server."""

from typing import Any

from kubectl import Kubectl
from operator_process import OperatorProcess
from played_study import SPEEDS, PlayedStudy, comparison

Object = dict[str, Any]
BUSY: Object = {"status": False, "reason": "ClientSaturated", "message": "the client was busy"}


class BusyStudy(PlayedStudy):
    """A study whose client is too busy in the first runs of the slow variant."""

    busy_runs = 1

    def _report(self, run: str, variant: str) -> Object:
        document = super()._report(run, variant)
        if variant == "slow" and self.busy_runs > 0:
            self.busy_runs -= 1
            document["valid"] = BUSY
        return document


def test_an_invalid_repetition_runs_again_in_its_round_with_new_pods_and_counts_once(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(comparison(repetitions=2))
    study = BusyStudy(kubectl, SPEEDS)
    study.until(lambda _: bool(study.order), "the first report")
    study.silent = True  # the second attempt lasts until the operator is back
    early = study.until(lambda status: len(status.get("runs", ())) > 1, "the second attempt")
    assert early["progress"] == "0/4"
    assert early["design"]["repetitions"] == 2
    operator.kill()
    operator.start()
    study.silent = False
    status = study.until_over()
    assert status["state"] == "Complete", status
    assert study.order == ["slow-1", "slow-21", "fast-1", "fast-2", "slow-2"]
    assert len(frozenset.union(*study.served)) == 5, "two attempts shared a pod"
    assert status["progress"] == "4/4"
    runs = [(run["variant"], run["repetition"], run["attempt"]) for run in status["runs"]]
    assert runs[:3] == [("slow", 1, 1), ("slow", 1, 2), ("fast", 1, 1)]
    assert "fingerprint" not in status["runs"][0]
    assert [(row["variant"], row["runs"], row["reason"]) for row in status["results"]] == [
        ("fast", 2, ""),
        ("slow", 2, ""),
    ]
    assert len(kubectl.list("lt")) == 5


def test_a_variant_whose_runs_are_never_valid_is_given_up_after_three_attempts(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(comparison(repetitions=2))
    study = BusyStudy(kubectl, SPEEDS)
    study.busy_runs = 100
    status = study.until_over()
    assert status["state"] == "Complete", status
    assert study.order == ["slow-1", "slow-21", "slow-41", "fast-1", "fast-2"]
    (slow,) = [row for row in status["results"] if row["variant"] == "slow"]
    assert slow["reason"] == "ClientSaturated"
    assert "the client was busy" in slow["message"]
    assert status["recommended"] == ""
