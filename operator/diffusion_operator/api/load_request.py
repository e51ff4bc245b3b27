"""Request of a load: prompts, seed, size, and how the target learns who asks."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from diffusion_operator.api.fields import (
    Decimal,
    GuidanceScale,
    Model,
    ObjectName,
    SecretKey,
    Side,
    decimal_schema,
    rule,
    rules,
)

# A plan travels in one environment variable, of which Linux takes at most 128 KiB.
MOST_INLINE_CHARACTERS = 20_000

Prompt = Annotated[str, Field(min_length=1, max_length=1000)]


class ConfigMapKey(Model):
    """One key of a ConfigMap of the same namespace."""

    name: ObjectName = Field(description="Name of the ConfigMap.")
    key: str = Field(
        "prompts.txt",
        min_length=1,
        max_length=253,
        pattern=r"^[-._a-zA-Z0-9]+$",
        description="Its key: one prompt a line. Default: prompts.txt.",
    )


class Auth(Model):
    """Credentials that the target asks for."""

    api_key_secret_ref: SecretKey = Field(description="An API key, sent as a bearer token.")


class Prompts(Model):
    """Source of the prompts; each request takes a random one."""

    inline: tuple[Prompt, ...] | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="The prompts themselves.",
        json_schema_extra=rules(
            rule(
                f"size(self.join('')) <= {MOST_INLINE_CHARACTERS}",
                f"inline prompts have at most {MOST_INLINE_CHARACTERS} characters in all: "
                "put a longer list in a ConfigMap and name it in configMapRef",
            )
        ),
    )
    config_map_ref: ConfigMapKey | None = Field(
        None, description="A ConfigMap of the same namespace with one prompt a line."
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.inline) != has(self.configMapRef)",
                "give the prompts either inline or by configMapRef",
            ),
        )
    )


class Lora(Model):
    """One of the target's LoRAs."""

    name: str = Field(
        min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", description="Its name."
    )
    scale: Decimal | None = Field(
        None, description="Its strength, such as 0.8; else the service's."
    )


class Seed(Model):
    """Which seed each request carries."""

    policy: Literal["target", "fixed", "random"] = Field(
        "target",
        description="target: none is sent; fixed: value each time; random: a new one "
        "each. Default: target.",
    )
    value: int | None = Field(None, ge=0, le=2_147_483_647, description="The fixed seed.")

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.value) == (has(self.policy) && self.policy == 'fixed')",
                "a seed's value goes with policy: fixed, and only with that",
            )
        )
    )


class Request(Model):
    """Content of each request; the target's own defaults fill unset fields."""

    steps: int | None = Field(None, ge=1, le=500, description="Denoising steps.")
    guidance_scale: GuidanceScale | None = Field(
        None, description="Classifier-free guidance, such as 7.5."
    )
    width: Side | None = Field(None, description="Pixels, a multiple of 8.")
    height: Side | None = Field(None, description="Pixels, a multiple of 8.")
    images: int | None = Field(None, ge=1, le=64, description="Images of one request.")
    format: Literal["png", "jpeg", "webp"] | None = Field(
        None, description="Encoding of the images."
    )
    negative_prompt: Prompt | None = Field(None, description="Content that no image should show.")
    lora: Lora | None = Field(None, description="A LoRA of the target.")
    seed: Seed = Field(Seed(), description="Which seed each request carries. Default: none.")
    decode_share: Decimal = Field(
        "0.05",
        description="Share of the images that is decoded in full; header, size and end of every "
        "one are checked anyway. Default: 0.05.",
        json_schema_extra=decimal_schema(1),
    )
    timeout_seconds: int = Field(
        60,
        ge=1,
        le=3600,
        description="A request without an answer after this long counts as failed. Default: 60.",
    )
    prompts: Prompts | None = Field(
        None, description="Source of the prompts. Default: a built-in list of over 200."
    )
