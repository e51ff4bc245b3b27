"""The committed CRDs: they are the generated ones, and meet Kubernetes' conventions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from diffusion_operator.api.crd import definitions

Schema = dict[str, Any]
ROOT = Path(__file__).parents[3]
CRDS = ROOT / "crds"
# Fields whose values are the names of programs, formats and techniques, or that are older.
API_PAGE = (ROOT / "docs" / "api.md").read_text()


def schemas() -> Iterator[tuple[str, Schema]]:
    for crd in definitions():
        version = crd["spec"]["versions"][0]
        yield crd["spec"]["names"]["kind"], version["schema"]["openAPIV3Schema"]


def parts(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from parts(part, f"{path}.{name}")
    if "items" in schema:
        yield from parts(schema["items"], f"{path}[]")


ALL_PARTS = [each for kind, schema in schemas() for each in parts(schema, kind)]


@pytest.mark.parametrize("crd", definitions(), ids=lambda crd: str(crd["spec"]["names"]["kind"]))
def test_the_committed_file_is_the_generated_one(crd: Schema) -> None:
    committed = (CRDS / f"{crd['spec']['names']['plural']}.yaml").read_text()
    assert yaml.safe_load(committed) == crd, "run `make crds`"


@pytest.mark.parametrize(("path", "part"), ALL_PARTS, ids=[path for path, _ in ALL_PARTS])
def test_every_field_is_explained_typed_and_bounded(path: str, part: Schema) -> None:
    is_decimal = part.get("x-kubernetes-preserve-unknown-fields") and "maximum" in part
    assert "type" in part or part.get("x-kubernetes-int-or-string") or is_decimal
    if not path.endswith("[]"):
        assert part.get("description"), "kubectl explain has no description to show"
    is_text = part.get("type", "string") == "string"
    if is_text and part.get("format") != "date-time" and "enum" not in part:
        assert "maxLength" in part
    if part.get("type") == "array":
        assert "maxItems" in part
    assert part.get("type") != "number", "a decimal field takes strings, too"


def test_only_replicas_is_defaulted_so_that_a_stored_spec_is_what_its_author_wrote() -> None:
    assert [path for path, part in ALL_PARTS if "default" in part] == [
        "DiffusionService.spec.replicas"
    ]


SPEC_PARTS = [(path, part) for path, part in ALL_PARTS if ".spec." in path]


def test_a_lower_case_enumeration_is_one_that_the_api_page_names() -> None:
    lower = {
        path
        for path, part in SPEC_PARTS
        if any(str(value)[0].islower() for value in part.get("enum", ()))
    }
    named = {path for path in lower if f"`{path.rpartition('.')[2]}`" in API_PAGE}
    named |= {path for path in lower if f"`{'.'.join(path.split('.')[-2:])}`" in API_PAGE}
    assert lower
    assert lower - named == set()


def test_a_duration_is_a_string_with_a_unit_but_for_two_older_fields() -> None:
    units = ("Seconds", "Milliseconds", "Minutes", "Hours")
    own = {path for path, _ in SPEC_PARTS if path.endswith(units) and ".podTemplate." not in path}
    assert {path.rpartition(".")[2] for path in own} == {"maxWaitMilliseconds", "timeoutSeconds"}
