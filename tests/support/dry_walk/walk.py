"""A walk through a workflow: its jobs in their order, each step on the job's own machine."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dry_walk.actions import ACTIONS, ActionError, Artifacts
from dry_walk.expressions import Functions, evaluate, filled
from dry_walk.machine import ROOT, Machine

FOLDER = ROOT / ".github" / "workflows"
Context = dict[str, Any]


@dataclass
class Walk:
    """A run of GitHub's for an event; jobs have the results ``success``, ``failure``, ``skipped``.

    ``broken`` names steps by a part of their script: the walk's machine fails there.
    """

    folder: Path
    origin: Path
    world: dict[str, Any]
    context: Context
    broken: str = ""
    log: list[str] = field(default_factory=list)
    machines: int = 0

    def __post_init__(self) -> None:
        self._artifacts = Artifacts(self.folder / "artifacts")

    def run(self, workflow: str, inputs: Mapping[str, Any] | None = None) -> dict[str, str]:
        """Walks the workflow, and returns the result of each of its jobs."""
        content = yaml.safe_load((FOLDER / workflow).read_text())
        needs: dict[str, Any] = {}
        context = self.context | {"inputs": inputs or {}}
        for name, job in _ordered(content["jobs"]):
            own = context | {"needs": {key: needs[key] for key in _needs(job)}}
            if not _runs(job, own):
                needs[name] = {"result": "skipped", "outputs": {}}
                continue
            results = [
                self._job(job, content.get("env", {}), own | {"matrix": each})
                for each in _matrix(job, own)
            ]
            failed = [each for each in results if each["result"] != "success"]
            needs[name] = (failed or results)[0]
        return {name: each["result"] for name, each in needs.items()}

    def _job(self, job: Context, env: Mapping[str, Any], context: Context) -> Context:
        if "uses" in job:
            inputs = {
                key: filled(str(value), context, _functions(context))
                for key, value in job.get("with", {}).items()
            }
            called = self.run(Path(job["uses"]).name, inputs)
            bad = [each for each in called.values() if each == "failure"]
            return {"result": "failure" if bad else "success", "outputs": {}}
        self.machines += 1
        machine = Machine(self.folder / f"machine-{self.machines}", self.origin, self.world)
        steps: dict[str, Any] = {}
        own = context | {"steps": steps, "_failed": False, "env": {}}
        variables = env | job.get("env", {})
        for step in job["steps"]:
            if not _holds(str(step.get("if", "success()")), own):
                continue
            try:
                outputs = self._step(machine, job, step, variables, own)
            except ActionError as error:
                self.log.append(f"{step.get('uses') or step.get('run')}: {error}")
                own["_failed"] = True
                continue
            steps[step.get("id", "")] = {"outputs": outputs}
        outputs = {
            name: filled(str(value), own, _functions(own))
            for name, value in job.get("outputs", {}).items()
        }
        return {"result": "failure" if own["_failed"] else "success", "outputs": outputs}

    def _step(
        self, machine: Machine, job: Context, step: Context, env: Mapping[str, Any], own: Context
    ) -> dict[str, str]:
        functions = _functions(own)
        given = {k: filled(str(v), own, functions) for k, v in step.get("with", {}).items()}
        if "uses" in step:
            action = step["uses"].partition("@")[0]
            if action == "actions/upload-artifact":
                self._artifacts.upload(machine, given)
            elif action == "actions/download-artifact":
                self._artifacts.download(machine, given)
            else:
                ACTIONS[action](machine, given)
            return {"digest": f"sha256:{'0' * 64}"}
        if self.broken and self.broken in step["run"]:
            raise ActionError("cancelled here")
        variables = {
            key: filled(str(value), own, functions)
            for key, value in (env | step.get("env", {})).items()
        }
        files = {name: machine.folder / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        files["GITHUB_OUTPUT"].write_text("")
        github = own["github"]
        variables |= {key: str(value) for key, value in files.items()} | {
            "GITHUB_SHA": github["sha"],
            "GITHUB_REPOSITORY": github["repository"],
            "GITHUB_REF_NAME": github["ref_name"],
        }
        folder = step.get("working-directory") or job.get("defaults", {}).get("run", {}).get(
            "working-directory", "."
        )
        done = machine.run(step["run"], variables, machine.checkout / folder)
        if done.returncode != 0:
            raise ActionError(done.stderr.strip()[-2000:])
        lines = files["GITHUB_OUTPUT"].read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)


def _needs(job: Context) -> list[str]:
    needs = job.get("needs", [])
    return [needs] if isinstance(needs, str) else needs


def _ordered(jobs: Mapping[str, Context]) -> Iterator[tuple[str, Context]]:
    """Yields each job after those that it needs."""
    waiting, done = dict(jobs), set[str]()
    while waiting:
        name = next(each for each, job in waiting.items() if set(_needs(job)) <= done)
        done.add(name)
        yield name, waiting.pop(name)


def _matrix(job: Context, context: Context) -> list[dict[str, Any]]:
    """The matrix's combinations; all of them have one dimension."""
    matrix = job.get("strategy", {}).get("matrix")
    if matrix is None:
        return [{}]
    ((name, values),) = matrix.items()
    listed = evaluate(values.strip()[3:-2], context, {}) if isinstance(values, str) else values
    return [{name: each} for each in listed]


def _functions(context: Context) -> Functions:
    # A step looks at the steps before it, a job at the jobs that it needs.
    needs = context.get("needs", {}).values()
    failed = context.get("_failed", any(each["result"] != "success" for each in needs))
    return {
        "always": lambda: True,
        "cancelled": lambda: False,
        "success": lambda: not failed,
        "failure": lambda: failed,
    }


def _holds(condition: str, context: Context) -> bool:
    """Whether a condition holds; one without a status function also asks for success."""
    text = condition.removeprefix("${{").removesuffix("}}")
    functions = _functions(context)
    if not any(f"{name}()" in text for name in functions):
        text = f"success() && ({text})"
    return bool(evaluate(text, context, functions))


def _runs(job: Context, context: Context) -> bool:
    return _holds(str(job.get("if", "success()")), context)
