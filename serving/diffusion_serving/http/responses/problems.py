"""Errors as RFC 9457 problem documents, each with advice on what to change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

from diffusion_serving.engine.errors import (
    DeadlineExceeded,
    EngineFailed,
    NotReady,
    PicturesBlocked,
    QueueFull,
    RequestError,
)

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem. `slug` names its section of the documentation page."""

    slug: str
    status: int
    title: str
    advice: str

    @property
    def type(self) -> str:
        """A URI reference that leads to the explanation on this very server."""
        return f"/docs#{self.slug}"


MALFORMED = Kind(
    "malformed", 400, "The body is not JSON", "Send one JSON object, encoded as UTF-8."
)
BLOCKED = Kind(
    "blocked",
    400,
    "The image is blocked",
    "Change the prompt or the seed. Each image is checked once it is made, and a request with a "
    "blocked one has none.",
)
UNAUTHORIZED = Kind(
    "unauthorized",
    401,
    "A key is needed",
    "Send the header Authorization: Bearer KEY with one of the keys of this service.",
)
NOT_FOUND = Kind("not-found", 404, "There is no such route", "Use one of the routes on this page.")
MODEL_NOT_FOUND = Kind(
    "model-not-found",
    404,
    "There is no such model here",
    "Use one of the models that GET /v1/models lists, or name none.",
)
METHOD_NOT_ALLOWED = Kind(
    "method-not-allowed",
    405,
    "The route does not take this method",
    "Use a method from the Allow header.",
)
NOT_ACCEPTABLE = Kind(
    "not-acceptable",
    406,
    "No such answer can be given",
    "Accept application/json, or image/png, image/jpeg or image/webp for the bytes of one image.",
)
BODY_TIMEOUT = Kind(
    "body-timeout", 408, "The body did not arrive in time", "Send the whole body at once."
)
BODY_TOO_LARGE = Kind("body-too-large", 413, "The body is too large", "Send a shorter prompt.")
UNSUPPORTED_MEDIA_TYPE = Kind(
    "unsupported-media-type",
    415,
    "The body is of the wrong type",
    "Send the header Content-Type: application/json, and no Content-Encoding.",
)
INVALID = Kind(
    "invalid",
    422,
    "The request asks for something that cannot be done",
    "Change the fields that `errors` names; the limits stand on this page and in /about.",
)
QUEUE_FULL = Kind(
    "queue-full",
    429,
    "The queue is full",
    "Try again after the seconds in the Retry-After header, or give the service more replicas.",
)
ENGINE_FAILED = Kind(
    "engine-failed",
    500,
    "The image could not be generated",
    "Try again. If it fails again, look the error's id up in the server's log.",
)
SIGNING_FAILED = Kind(
    "signing-failed",
    500,
    "The image could not be signed",
    "No image leaves this service unsigned: the service's owner has to renew the certificate in "
    "the Secret of provenance.contentCredentials, which takes effect without a restart.",
)
NOT_READY = Kind(
    "not-ready",
    503,
    "The server is not ready",
    "Wait until GET /readyz answers 200.",
)
DEADLINE_EXCEEDED = Kind(
    "deadline-exceeded",
    504,
    "The request waited too long",
    "Try again at a quieter time, or give the service more replicas.",
)

KINDS: tuple[Kind, ...] = (
    MALFORMED,
    BLOCKED,
    UNAUTHORIZED,
    NOT_FOUND,
    MODEL_NOT_FOUND,
    METHOD_NOT_ALLOWED,
    NOT_ACCEPTABLE,
    BODY_TIMEOUT,
    BODY_TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    INVALID,
    QUEUE_FULL,
    ENGINE_FAILED,
    SIGNING_FAILED,
    NOT_READY,
    DEADLINE_EXCEEDED,
)


class FieldError(BaseModel):
    """The error of one field."""

    model_config = ConfigDict(frozen=True)

    field: str = Field(description="Name of the field; empty for the body as a whole.")
    detail: str = Field(description="The fault, and the allowed values.")


class ProblemDocument(BaseModel):
    """An RFC 9457 problem."""

    model_config = ConfigDict(frozen=True, title="Problem")

    type: str = Field(description="Leads to the explanation of this sort of problem.")
    title: str
    status: int
    detail: str = Field(description="The cause this time, and the change to make.")
    errors: list[FieldError] | None = Field(default=None, description="The fields at fault.")
    error_id: str | None = Field(default=None, description="Finds the line in the server's log.")


@dataclass(eq=False)
class Problem(Exception):  # noqa: N818 - RFC 9457's own word
    """A problem document on its way to the client."""

    kind: Kind
    detail: str
    errors: Sequence[FieldError] = ()
    error_id: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    code: str | None = None
    """OpenAI's code, where the kind's is not precise enough."""

    def body(self) -> bytes:
        document = ProblemDocument(
            type=self.kind.type,
            title=self.kind.title,
            status=self.kind.status,
            detail=self.detail,
            errors=list(self.errors) or None,
            error_id=self.error_id,
        )
        return document.model_dump_json(exclude_none=True).encode()


def from_request_error(error: RequestError) -> Problem:
    """Returns the problem document of an engine's refusal."""
    match error:
        case QueueFull():
            return Problem(
                QUEUE_FULL,
                f"{error} Try again in {error.retry_after} s.",
                headers={"Retry-After": str(error.retry_after)},
            )
        case DeadlineExceeded():
            return Problem(DEADLINE_EXCEEDED, f"{error} {DEADLINE_EXCEEDED.advice}")
        case PicturesBlocked():
            return Problem(BLOCKED, f"{error} {BLOCKED.advice}")
        case EngineFailed():
            advice = error.cause or ENGINE_FAILED.advice
            return Problem(ENGINE_FAILED, f"{error} {advice}", error_id=error.error_id)
        case NotReady():
            return Problem(NOT_READY, f"{error} {NOT_READY.advice}", headers={"Retry-After": "5"})
        case _:
            raise TypeError(f"{type(error).__name__} has no problem document") from error
