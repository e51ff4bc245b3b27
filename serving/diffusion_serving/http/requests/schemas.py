"""JSON schemas of request bodies, with this service's limits, defaults and LoRAs in them."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from diffusion_serving.documents.serving_config import (
    MAX_SIDE,
    MIN_SIDE,
    SIDE_MULTIPLE,
    ServingConfig,
)
from diffusion_serving.http.requests.predict_body import PredictRequest


def request_schema(config: ServingConfig) -> dict[str, Any]:
    """Returns the JSON schema of `POST /predict`'s request."""
    limits, defaults = config.limits, config.generation
    schema = bounded_schema(PredictRequest, config)
    properties: dict[str, dict[str, Any]] = schema["properties"]
    for name in ("width", "height"):
        properties[name] |= {
            "minimum": MIN_SIDE,
            "maximum": min(MAX_SIDE, limits.max_pixels // MIN_SIDE),
            "multipleOf": SIDE_MULTIPLE,
        }
        if (side := getattr(defaults, name)) is not None:
            properties[name]["default"] = side
    properties["images"] |= {"maximum": limits.max_images_per_request, "default": 1}
    properties["format"] |= {"default": "png"}
    schema["description"] = (
        "A field left out, or null, takes the default. Width times height is at most "
        f"{limits.max_pixels} pixels."
    )
    return schema


def bounded_schema(model: type[BaseModel], config: ServingConfig) -> dict[str, Any]:
    """Returns a request model's JSON schema, with the bounds that all routes share."""
    limits, defaults = config.limits, config.generation
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})
    properties: dict[str, dict[str, Any]] = schema["properties"]
    for name, spec in properties.items():
        properties[name] = _nullable(spec, definitions)
    properties["prompt"] |= {"maxLength": limits.max_prompt_length, "pattern": r"\S"}
    properties["negative_prompt"] |= {"maxLength": limits.max_prompt_length, "default": ""}
    properties["steps"] |= {"maximum": limits.steps, "default": defaults.steps}
    properties["guidance_scale"] |= {"default": defaults.guidance_scale}
    if names := [lora.name for lora in config.model.loras]:
        properties["lora"]["properties"]["name"]["enum"] = names
    else:
        del properties["lora"]
    return schema


def _nullable(spec: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Flattens a property of pydantic's: its alternatives with null become its type."""
    flat = {key: value for key, value in spec.items() if key not in ("anyOf", "default", "title")}
    for variant in spec.get("anyOf", ()):
        if (name := variant.get("$ref", "").rpartition("/")[2]) in definitions:
            inner = definitions[name]
            fields = inner["properties"].items()
            flat |= {key: value for key, value in inner.items() if key != "title"} | flat
            flat["properties"] = {key: _nullable(value, definitions) for key, value in fields}
        else:
            flat |= {key: value for key, value in variant.items() if key != "type"}
    types = [variant.get("type", "object") for variant in spec.get("anyOf", ())]
    if types:
        flat["type"] = types
    if "null" in types and ("enum" in flat or "const" in flat):
        flat["enum"] = [*flat.get("enum", [flat.pop("const", None)]), None]
    return flat
