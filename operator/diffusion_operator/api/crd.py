"""CustomResourceDefinitions from the models: ``python -m diffusion_operator.api.crd DIR``."""

import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from diffusion_operator.api import GROUP, VERSION
from diffusion_operator.api.comparison import MAX_NAME as MAX_COMPARISON_NAME
from diffusion_operator.api.comparison import ComparisonObject
from diffusion_operator.api.diffusionservice import DiffusionServiceObject
from diffusion_operator.api.fields import rule
from diffusion_operator.api.loadtest import LoadTestObject

MAX_NAME = 52  # leaves room for the suffixes of children within a label's 63 characters

Schema = dict[str, Any]


def _column(name: str, path: str, kind: str = "string", **more: Any) -> Schema:
    return {"name": name, "type": kind, "jsonPath": path, **more}


AGE = _column("Age", ".metadata.creationTimestamp", "date")

DIFFUSION_SERVICE_COLUMNS = [
    _column("Backend", ".spec.backend"),
    _column("Model", ".spec.model.source"),
    _column("GPU", ".spec.gpu.type"),
    _column("Precision", ".status.precision"),
    _column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
    _column(
        "Replicas", ".status.readyReplicas", "integer", description="Pods that answer requests."
    ),
    _column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
    _column("URL", ".status.url"),
    AGE,
]

LOAD_TEST_COLUMNS = [
    _column("Target", ".status.target.name"),
    _column("Backend", ".status.target.backend"),
    _column("State", ".status.state"),
    _column("Users", ".status.shown.users", "integer"),
    _column("RPS", ".status.shown.requestsPerSecond"),
    _column("P50", ".status.shown.p50", "integer", description="Milliseconds."),
    _column("P95", ".status.shown.p95", "integer", description="Milliseconds."),
    _column("Failures", ".status.shown.failures", "integer"),
    _column("SLO", '.status.conditions[?(@.type=="SLOMet")].status'),
    AGE,
]


COMPARISON_COLUMNS = [
    _column("State", ".status.state"),
    _column("Variant-Now", ".status.variant"),
    _column("Progress", ".status.progress", description="Runs that have ended, of all."),
    _column("Recommended", ".status.recommended"),
    AGE,
]


# JSON Schema's keyword, or ours, and the structural schema's.
_KEYWORDS = {"const": "enum", "crd-default": "default"}


def structural(schema: Schema, definitions: Schema) -> Schema:
    """Structural OpenAPI v3 schema of a pydantic JSON schema.

    References are inlined and ``X | None`` becomes ``X``. Only a ``crd-default`` becomes a default,
    since the operator fills in the others: a stored spec stays as its author wrote it.
    """
    if "$ref" in schema:
        target = definitions[schema["$ref"].rpartition("/")[2]]
        return structural(
            {**target, **{k: v for k, v in schema.items() if k != "$ref"}}, definitions
        )
    if "anyOf" in schema:
        (only,) = (option for option in schema["anyOf"] if option.get("type") != "null")
        rest = {k: v for k, v in schema.items() if k != "anyOf"}
        return structural({**only, **rest}, definitions)

    converted: Schema = {}
    for key, value in schema.items():
        match key:
            case "title" | "default":
                pass
            case "additionalProperties" if isinstance(value, bool):
                # kubectl refuses an unknown field and the API server prunes it, unless the schema
                # says x-kubernetes-preserve-unknown-fields.
                pass
            case "additionalProperties" | "items":
                converted[key] = structural(value, definitions)
            case "properties":
                converted[key] = {
                    name: structural(part, definitions) for name, part in value.items()
                }
            case _:
                converted[_KEYWORDS.get(key, key)] = [value] if key == "const" else value
    return converted


def _version_schema(model: type[BaseModel], max_name: int) -> Schema:
    raw = model.model_json_schema(by_alias=True)
    schema = structural({k: v for k, v in raw.items() if k != "$defs"}, raw.get("$defs", {}))
    conditions = schema["properties"]["status"]["properties"]["conditions"]
    conditions |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    message = (
        f"metadata.name must have at most {max_name} characters: its children's names add to it"
    )
    schema["x-kubernetes-validations"] = [
        dict(rule(f"size(self.metadata.name) <= {max_name}", message)),
        dict(
            rule(
                "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
                "metadata.name must begin with a letter and have no dot: a Service is named after "
                "it; write for example sd-v1-4",
            )
        ),
    ]
    return schema


def definition(
    model: type[BaseModel],
    *,
    kind: str,
    short: str,
    columns: list[Schema],
    subresources: Schema,
    max_name: int = MAX_NAME,
) -> Schema:
    """CustomResourceDefinition of one kind."""
    singular = kind.lower()
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{singular}s.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": f"{singular}s",
                "singular": singular,
                "shortNames": [short],
                "categories": ["diffusion"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": _version_schema(model, max_name)},
                    "subresources": subresources,
                    "additionalPrinterColumns": columns,
                }
            ],
        },
    }


def definitions() -> list[Schema]:
    """All CustomResourceDefinitions of this project."""
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    return [
        definition(
            DiffusionServiceObject,
            kind="DiffusionService",
            short="dsvc",
            columns=DIFFUSION_SERVICE_COLUMNS,
            subresources={"status": {}, "scale": scale},
        ),
        definition(
            LoadTestObject,
            kind="LoadTest",
            short="lt",
            columns=LOAD_TEST_COLUMNS,
            subresources={"status": {}},
        ),
        definition(
            ComparisonObject,
            kind="Comparison",
            short="cmp",
            columns=COMPARISON_COLUMNS,
            subresources={"status": {}},
            max_name=MAX_COMPARISON_NAME,
        ),
    ]


def main() -> None:
    directory = Path(sys.argv[1])
    for crd in definitions():
        path = directory / f"{crd['spec']['names']['plural']}.yaml"
        path.write_text(
            "# Written by `make crds` from operator/diffusion_operator/api; not to be edited.\n"
            + yaml.safe_dump(crd, sort_keys=False, width=100)
        )


if __name__ == "__main__":
    main()
