"""Base classes of the JSON documents that cross this program's boundary."""

from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Document(BaseModel):
    """An immutable JSON object with camelCase keys that rejects unknown keys."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        allow_inf_nan=False,
    )


class VersionedDocument(Document):
    """A whole document, rather than a part of one."""

    version: Literal[1] = 1
