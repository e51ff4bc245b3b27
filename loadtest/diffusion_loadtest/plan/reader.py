"""Reading of the load plan, and of the API key that it names."""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from diffusion_loadtest.plan.load_plan import Auth, LoadPlan

PLAN_VARIABLE = "DIFFUSION_LOAD_PLAN"


class PlanError(ValueError):
    """The load plan cannot be carried out; the message says what to change."""


def parse_plan(text: str) -> LoadPlan:
    """The plan in `text`; raises PlanError with each bad field as the plan spells it."""
    try:
        return LoadPlan.model_validate_json(text)
    except ValidationError as error:
        raise PlanError(f"The load plan is not valid: {_sentences(error)}") from None


def _sentences(error: ValidationError) -> str:
    """Clauses, one per bad field, without the input itself, which may hold prompts."""
    clauses = []
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        path = ".".join(str(part) for part in detail["loc"]) or "the document"
        message = detail["msg"].removeprefix("Value error, ")
        clauses.append(f"{path}: {message[:1].lower()}{message[1:]}")
    return "; ".join(clauses) + "."


def load_plan(path: Path | None, environment: Mapping[str, str] | None = None) -> LoadPlan:
    """The plan in the file, or by default in the environment variable DIFFUSION_LOAD_PLAN.

    Raises:
        PlanError: The plan is missing or not valid.
    """
    variables = os.environ if environment is None else environment
    if path is None:
        text = variables.get(PLAN_VARIABLE)
        if text is None:
            raise PlanError(
                f"There is no load plan: give --plan FILE or set the variable {PLAN_VARIABLE}."
            )
        return parse_plan(text)
    try:
        return parse_plan(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"The load plan {path} cannot be read: {error}.") from None


def api_key(auth: Auth | None, environment: Mapping[str, str] | None = None) -> str | None:
    """The key that requests carry; raises PlanError, which never quotes the key."""
    if auth is None:
        return None
    if auth.api_key_file is None:
        variables = os.environ if environment is None else environment
        place, text = (
            f"variable {auth.api_key_variable}",
            variables.get(auth.api_key_variable or ""),
        )
    else:
        place = f"file {auth.api_key_file}"
        try:
            text = Path(auth.api_key_file).read_text(encoding="ascii")
        except OSError as error:
            raise PlanError(f"The API key cannot be read: {place}: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise PlanError(f"The API key cannot be read: {place} is not plain text.") from None
    words = (text or "").split()
    if not words:
        raise PlanError(f"The {place} holds no API key.")
    return words[0]
