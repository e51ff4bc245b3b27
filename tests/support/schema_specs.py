"""Random specs from a CRD's own schema: most are valid, some broken in one place or more."""

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

Schema = Mapping[str, Any]

_ALPHABET = st.characters(min_codepoint=32, max_codepoint=0x24F)
_LONGEST = 30
_OPTIONAL_FIELDS = 3
_JUNK: st.SearchStrategy[Any] = st.sampled_from(
    ["", "no", -1, 0, 10**12, 1.5, True, None, [], {}, {"x": 1}, ["x"], "é\n"]
)
_ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(_ALPHABET, max_size=8),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.text("abcdefg", min_size=1, max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)


# Values for fields whose form a rule defines, not the schema.
_KNOWN: Mapping[str, st.SearchStrategy[Any]] = {
    "source": st.sampled_from(
        ["image:///models/demo", "pvc://claim/a", "hf://a/b", "s3://a/b", "gs://a/b", "a", "/é"]
    ),
    "url": st.sampled_from(["http://nobody.example", "https://a.example:8000", "a"]),
}


_INT_OR_STRING: st.SearchStrategy[Any] = st.sampled_from(
    ["90s", "1m30s", "500ms", "20Gi", "Always", "64", "0.5", 1, 64, "x"]
)


def specs(schema: Schema) -> st.SearchStrategy[Any]:
    """Generates specs of the schema; about one in four is broken somewhere."""
    return st.integers(0, 3).flatmap(lambda dice: _valued(schema, broken=dice == 0))


def _valued(schema: Schema, *, broken: bool) -> st.SearchStrategy[Any]:
    valid = _valid(schema, broken=broken)
    if not broken:
        return valid
    return st.integers(0, 7).flatmap(lambda dice: _JUNK if dice == 0 else valid)


def _valid(schema: Schema, *, broken: bool) -> st.SearchStrategy[Any]:
    strategy: st.SearchStrategy[Any] = _ANYTHING
    if "enum" in schema:
        strategy = st.sampled_from(schema["enum"])
    elif schema.get("type") == "object":
        strategy = _object(schema, broken=broken)
    elif schema.get("type") == "array":
        most = min(schema.get("maxItems", 2), 2)
        items = _valued(schema["items"], broken=broken)
        strategy = st.lists(items, min_size=schema.get("minItems", 0), max_size=most)
    elif schema.get("type") == "string":
        strategy = _string(schema)
    elif schema.get("type") == "integer":
        strategy = _integer(schema)
    elif schema.get("type") == "boolean":
        strategy = st.booleans()
    elif schema.get("x-kubernetes-int-or-string"):
        strategy = _INT_OR_STRING
    elif "maximum" in schema:
        strategy = _decimal(schema)
    return strategy


def _integer(schema: Schema) -> st.SearchStrategy[int]:
    low, step = schema.get("minimum", 0), schema.get("multipleOf", 1)
    high = schema.get("maximum", low + 1000)
    return st.integers(-(-low // step), high // step).map(lambda value: value * step)


def _decimal(schema: Schema) -> st.SearchStrategy[float | str]:
    low, high = schema["minimum"], schema["maximum"]
    number = st.floats(max(low, 0.001), high) | st.integers(low, high)
    return number | st.from_regex(r"[0-9]{1,4}([.][0-9]{1,6})?", fullmatch=True)


def _string(schema: Schema) -> st.SearchStrategy[str]:
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength", _LONGEST)
    if "pattern" in schema:
        pattern: str = schema["pattern"]
        matching = st.from_regex(pattern, fullmatch=True)
        return matching.filter(lambda text: shortest <= len(text) <= longest)
    return st.text(_ALPHABET, min_size=shortest, max_size=max(shortest, min(longest, _LONGEST)))


def _object(schema: Schema, *, broken: bool) -> st.SearchStrategy[Any]:
    fields: Mapping[str, Schema] = schema.get("properties") or {}
    more = schema.get("additionalProperties")
    if isinstance(more, Mapping):
        names = st.text("abcdefg.-/", min_size=1, max_size=8)
        return st.dictionaries(names, _valued(more, broken=broken), max_size=2)
    if not fields:
        return st.dictionaries(st.sampled_from(["spec", "metadata", "x"]), _ANYTHING, max_size=2)
    required = [name for name in schema.get("required", ()) if name in fields]
    optional = sorted(set(fields) - set(required))

    def with_fields(chosen: list[str]) -> st.SearchStrategy[Any]:
        return st.fixed_dictionaries(
            {
                name: _KNOWN[name] if name in _KNOWN else _valued(fields[name], broken=broken)
                for name in [*required, *chosen]
            }
        )

    if not optional:
        return with_fields([])
    return st.lists(st.sampled_from(optional), max_size=_OPTIONAL_FIELDS, unique=True).flatmap(
        with_fields
    )
