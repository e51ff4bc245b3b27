"""Failed validations of requests, as problems that name each field at fault."""

from collections.abc import Sequence

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from diffusion_serving.http.requests.predict_body import LoraChoice
from diffusion_serving.http.responses.problems import INVALID, FieldError, Problem


def field_error(failure: ErrorDetails, model: type[BaseModel]) -> FieldError:
    """Returns the field error of a failed validation of this model."""
    name = ".".join(str(part) for part in failure["loc"])
    if failure["type"] == "extra_forbidden":
        inner = LoraChoice if failure["loc"][:-1] else model
        known = ", ".join(inner.model_fields)
        return FieldError(field=name[:100], detail=f"is not known; the fields are {known}")
    if failure["type"] == "missing":
        hint = ": say what the image should show" if name == "prompt" else ""
        return FieldError(field=name, detail=f"is missing{hint}")
    if failure["type"] == "string_too_short":
        return FieldError(field=name, detail="is empty: say what the image should show")
    return FieldError(field=name, detail=failure["msg"].replace("Input should", "should"))


def invalid(errors: Sequence[FieldError], code: str | None = None) -> Problem:
    """Returns the problem that names all fields at fault; `code` is OpenAI's for the first."""
    detail = "; ".join(f"{error.field or 'the body'} {error.detail}" for error in errors)
    return Problem(INVALID, f"{detail}.", errors=errors, code=code)
