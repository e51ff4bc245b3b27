"""Safety: the check of every picture before it is given away."""

from typing import Literal

from pydantic import Field

from diffusion_operator.api.fields import Model, rule, rules
from diffusion_operator.api.model_source import NO_WAY_UP, PATHS, WHAT_SOURCES


class Safety(Model):
    """The check of every picture before it is given away."""

    checker: str | None = Field(
        None,
        min_length=1,
        max_length=512,
        description="Judge of the pictures. Model: the checker that the model comes with, as "
        "Stable Diffusion 1.x does. None: no check. A source: an image classifier of transformers "
        f"in safetensors, whose labels say what is unsafe, or such a checker. {WHAT_SOURCES} It is "
        "fetched with the credentials of the model. Default: the model's own where it has one.",
        json_schema_extra=rules(
            rule(
                f"self == 'None' || self == 'Model' || {PATHS}",
                "safety.checker must be None (no check), Model (the checker that the model comes "
                "with), or the source of an image classifier: hf://OWNER/REPOSITORY, "
                "pvc://CLAIM/PATH, s3://BUCKET/PATH, gs://BUCKET/PATH or image:///PATH",
            ),
            rule("!self.contains('..')", f"safety.checker {NO_WAY_UP}"),
        ),
    )
    action: Literal["Refuse", "Blur"] = Field(
        "Refuse",
        description="Answer for a blocked picture. Refuse: a problem that says so, and no picture "
        "of the request. Blur: the picture as a few patches of color, its place in the field "
        "blocked and the header Diffusion-Blocked. Default: Refuse.",
    )

    @property
    def source(self) -> str | None:
        """Source of the checker, or ``None`` for no checker and for the model's own."""
        return None if self.checker in (None, "None", "Model") else self.checker
