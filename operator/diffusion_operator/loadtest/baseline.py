"""Baseline of a LoadTest: the report of another LoadTest with the same load and target."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.loadtest import BaselineRef
from diffusion_operator.api.observed import ObservedLoadTest
from diffusion_operator.documents.load_report import REPORT_KEY, LoadReport, document
from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.objects import Key, Object, is_owned
from diffusion_operator.loadtest.analysis.regression import Baseline
from diffusion_operator.loadtest.analysis.run_identity import NOT_LOAD, desired_identity
from diffusion_operator.loadtest.specs.runner_access import access_name

_NOT_COMPARED = NOT_LOAD | {"slo", "webUI"}
"""Fields that change neither the load nor the target, though some begin another run."""


def baseline(cache: Cache, test: Object, reference: BaselineRef) -> Baseline:
    """Baseline by its reference, or the reason why there is none."""
    name, namespace = reference.name, test["metadata"]["namespace"]
    subject = f"LoadTest {name!r}"
    if name == test["metadata"]["name"]:
        return Baseline(
            subject,
            trouble="each run of a test replaces its report: name another LoadTest of the same "
            "load and target in spec.baselineRef, which is not run again",
        )
    other = cache.get(Key("LoadTest", namespace, name))
    if other is None:
        return Baseline(
            subject,
            trouble=f"there is no {subject} in namespace {namespace!r}: apply it, or correct "
            "spec.baselineRef.name",
        )
    if different := _unlike(test["spec"], other["spec"]):
        return Baseline(
            subject,
            trouble=f"{subject} measures something else: spec.{', spec.'.join(different)} differ; "
            "make them alike, or choose another baseline",
        )
    written = cache.get(Key("ConfigMap", namespace, access_name(other)))
    report = None
    if written is not None and is_owned(written, other):
        report = document(LoadReport, written, REPORT_KEY)
    if report is None or report.error is not None:
        return Baseline(subject, trouble=f"{subject} has no report of a run yet: let it run first")
    return Baseline(subject, report, _trouble(other, report, reference))


def _unlike(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Fields of load or target in which two specs differ, so that no figures compare."""
    names = sorted((one.keys() | other.keys()) - _NOT_COMPARED)
    return [name for name in names if one.get(name) != other.get(name)]


def _trouble(other: Mapping[str, Any], report: LoadReport, reference: BaselineRef) -> str:
    """Reason why the report is not the baseline's, or ``""``."""
    subject = f"LoadTest {reference.name!r}"
    if reference.run and report.run != reference.run:
        return (
            f"{subject} has the report of run {report.run} and no longer of {reference.run}: "
            "correct spec.baselineRef.run"
        )
    status = ObservedLoadTest.of(other)
    same_spec = status.spec_digest == desired_identity(other, "").spec
    if status.run != report.run or not same_spec:
        return f"the spec of {subject} has changed since its run: let it run again"
    return ""
