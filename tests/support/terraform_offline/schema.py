"""A provider's schema, read from the JavaScript bindings that the CDK generates from it.

A comment over an attribute's accessors says whether it is computed, optional or required. The type
of an attribute follows from the accessors, from the classes that they make, and from the functions
that write HCL. The possible values of a string are in the documentation of the type declarations.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Block = dict[str, Any]
Type = Any  # a type as Terraform writes it in JSON: "string", ["list", "string"], ["object", {…}]

_CLASS = re.compile(r"^class (\w+) extends \w+\.(\w+) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_PROPERTY = re.compile(
    r"^    // (\w+) - computed: (true|false), optional: (true|false), required: (true|false)\n"
    r"(.*?)(?=^    // \w+ - computed:|^    // =========|^}|\Z)",
    re.MULTILINE | re.DOTALL,
)
_WRITER = re.compile(
    r"^function (\w+)ToHclTerraform\(struct\) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL
)
_WRITTEN = re.compile(
    r"^ {8,12}(\w+): \{\n\s+value: .*\n\s+isBlock: (true|false),\n"
    r'\s+type: "(\w+)",\n\s+storageClassType: "(\w+)",',
    re.MULTILINE,
)
_INTERFACE = re.compile(r"^export interface (\w+)[^{]*\{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_DOCUMENTED = re.compile(r"/\*\*(.*?)\*/\s+readonly \w+", re.DOTALL)
_POSSIBLE = re.compile(r"Possible values: (\[[^\]]*\])")
_ATTRIBUTE_NAME = re.compile(r"#(\w+) \w+#\w+\}")

_READERS: dict[str, Type] = {
    "getStringAttribute": "string",
    "getBooleanAttribute": "bool",
    "getNumberAttribute": "number",
    "getListAttribute": ["list", "string"],
    "getNumberListAttribute": ["list", "number"],
    "getStringMapAttribute": ["map", "string"],
    "getNumberMapAttribute": ["map", "number"],
    "getBooleanMapAttribute": ["map", "bool"],
}
_WRITTEN_TYPES = {"string": "string", "boolean": "bool", "number": "number"}


@dataclass(frozen=True)
class _Hint:
    """The HCL form of an attribute: block or not, the collection, and the type that it stores."""

    is_block: bool
    collection: str
    storage: str


@dataclass(frozen=True)
class _Property:
    name: str
    computed: bool
    optional: bool
    required: bool
    code: str
    hint: _Hint | None

    @property
    def made(self) -> tuple[str, bool] | None:
        """The bindings' class that the accessor makes, and whether it makes a set of them."""
        # In large resources these classes are in other modules.
        match = re.search(
            rf'= new (?:\w+\.)?(\w+)\(this, "{self.name}"(?:, (true|false))?', self.code
        )
        return (match[1], match[2] == "true") if match else None


class _Bindings:
    def __init__(self, code: str, declarations: str) -> None:
        self.classes = {name: (base, body) for name, base, body in _CLASS.findall(code)}
        self._hints = {name.lower(): _hints(body) for name, body in _WRITER.findall(code)}
        self._values = {
            name: _possible_values(body) for name, body in _INTERFACE.findall(declarations)
        }

    def properties(self, name: str, hints: dict[str, _Hint]) -> Iterator[_Property]:
        for attribute, computed, optional, required, code in _PROPERTY.findall(
            self.classes[name][1]
        ):
            flags = (computed == "true", optional == "true", required == "true")
            yield _Property(attribute, *flags, code, hints.get(attribute))

    def element(self, made: str) -> tuple[str, dict[str, _Hint]]:
        """The class of one element that an accessor makes, and the hints of its attributes."""
        base = re.sub(r"(OutputReference|List|Map)$", "", made)
        return f"{base}OutputReference", self._hints.get(base.lower(), {})

    def block(self, name: str, hints: dict[str, _Hint], above: tuple[str, ...] = ()) -> Block:
        """The block that the class stands for."""
        values = self._values.get(re.sub(r"OutputReference$", "", name), {}) or self._values.get(
            f"{name}Config", {}
        )
        attributes, blocks = {}, {}
        for each in self.properties(name, hints):
            if each.made and each.hint and each.hint.is_block and not each.computed:
                element, inner = self.element(each.made[0])
                if (
                    element not in above
                ):  # a few types contain themselves; no configuration nests them
                    blocks[each.name] = self._nested(each, element, inner, above)
            else:
                attributes[each.name] = self._attribute(each, values.get(each.name))
        return {"attributes": attributes, "block_types": blocks}

    def _nested(
        self,
        each: _Property,
        element: str,
        hints: dict[str, _Hint],
        above: tuple[str, ...],
    ) -> dict[str, Any]:
        assert each.made is not None
        assert each.hint is not None
        mode = {"struct": "single"}.get(each.hint.collection, each.hint.collection)
        nested: dict[str, Any] = {
            "nesting_mode": mode,
            "block": self.block(element, hints, (*above, element)),
        }
        if mode != "single":
            nested |= {"max_items": 1} if each.made[0].endswith("OutputReference") else {}
            nested |= {"min_items": 1} if each.required else {}
        return nested

    def _attribute(self, each: _Property, values: list[str] | None) -> dict[str, Any]:
        flags = {"computed": each.computed, "optional": each.optional, "required": each.required}
        attribute = {"type": self._type(each)} | {name: True for name, on in flags.items() if on}
        if values and attribute["type"] == "string":
            attribute["values"] = values
        return attribute

    def _type(self, each: _Property) -> Type:
        if each.made:
            return self._type_made(each, *each.made)
        read = re.search(rf"return (.*?)this\.(\w+)\('{each.name}'\)", each.code)
        kind = _READERS.get(read[2]) if read else None
        if kind is None and each.hint is not None:
            kind = _WRITTEN_TYPES.get(each.hint.storage)
        if not isinstance(kind, list):
            return kind or "dynamic"
        collection = each.hint.collection if each.hint else kind[0]
        return [collection if collection in {"list", "set", "map"} else kind[0], kind[1]]

    def _type_made(self, each: _Property, made: str, is_set: bool) -> Type:
        element, hints = self.element(made)
        if element not in self.classes:
            return "dynamic"  # one of the CDK's own collections, such as a map of anything
        members = {inner.name: self._type(inner) for inner in self.properties(element, hints)}
        kind: Type = ["object", members]
        if made.endswith("Map"):
            return ["map", kind]
        if not made.endswith("OutputReference"):
            return ["set" if is_set else "list", kind]
        collection = each.hint.collection if each.hint else "list"
        return kind if collection == "struct" else [collection, kind]


def _hints(body: str) -> dict[str, _Hint]:
    return {
        name: _Hint(is_block == "true", collection, storage)
        for name, is_block, collection, storage in _WRITTEN.findall(body)
    }


def _possible_values(body: str) -> dict[str, list[str]]:
    values_by_name = {}
    for comment in _DOCUMENTED.findall(body):
        name, values = _ATTRIBUTE_NAME.search(comment), _POSSIBLE.search(comment)
        if name and values:
            values_by_name[name[1]] = json.loads(values[1])
    return values_by_name


def _bindings(folder: Path) -> _Bindings:
    def text(pattern: str) -> str:
        return "\n".join(file.read_text() for file in sorted(folder.rglob(pattern)))

    return _Bindings(text("*.js"), text("*.d.ts"))


def resource(folder: Path) -> tuple[str, Block]:
    """The type and the block of the one resource whose bindings lie in the folder."""
    bindings = _bindings(folder)
    for name, (base, body) in bindings.classes.items():
        if base == "TerraformResource":
            kind = re.search(r'tfResourceType = "(\w+)"', body)
            assert kind is not None
            return kind[1], bindings.block(name, _hints(body))
    raise ValueError(f"{folder} holds no resource")


def provider(folder: Path) -> Block:
    """The provider's own block: the names of its attributes, with any value.

    The bindings of a provider block hold less than those of a resource: they don't say which
    attributes inside its objects are optional.
    """
    bindings = _bindings(folder)
    name = next(n for n, (base, _) in bindings.classes.items() if base == "TerraformProvider")
    names = [each.name for each in bindings.properties(name, {})]
    return {"attributes": {each: {"type": "dynamic", "optional": True} for each in names}}
