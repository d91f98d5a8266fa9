"""The configuration's closed schema: what it says of types, defaults and faults."""

import difflib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

SCHEMA_PATH = Path(__file__).with_name("config.schema.yaml")


def load_schema() -> dict[str, Any]:
    """Return the configuration's JSON schema."""
    # The fast parser is missing where PyYAML was built without libyaml.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(SCHEMA_PATH.read_text(), Loader=loader)


def describe(error: Any) -> Iterator[str]:
    """Say in the user's words what one of jsonschema's validation errors is."""
    shown = (str(part) if str(part).isprintable() else repr(part) for part in error.path)
    key = ".".join(shown) or "the configuration"
    value = error.instance
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        for unknown in (name for name in value if name not in known):
            yield f"{key}: unknown key {unknown!r}; {nearest(unknown, known)}"
    elif error.validator == "enum":
        yield f"{key}: {value!r} is not allowed; {nearest(value, error.validator_value)}"
    elif error.validator == "required":
        missing = [name for name in error.validator_value if name not in value]
        yield f"{key}: missing {', '.join(missing)}; add it"
    elif error.validator == "type" and isinstance(error.validator_value, str):
        yield f"{key}: {value!r} should be of type {error.validator_value}"
    elif error.validator in ("minItems", "minProperties"):
        yield f"{key}: {value!r} is empty; give at least one entry"
    elif error.validator == "uniqueItems":
        yield f"{key}: {value!r} names an entry twice; keep one of each"
    elif error.validator in ("type", "pattern"):
        yield f"{key}: {value!r} cannot be used. Valid: {error.schema['description']}"
    elif error.validator in ("minimum", "maximum"):
        limit = error.validator_value
        yield f"{key}: {value!r} is out of range; the nearest valid value is {limit}"
    elif error.validator in ("exclusiveMinimum", "exclusiveMaximum"):
        side = "above" if error.validator == "exclusiveMinimum" else "below"
        yield f"{key}: {value!r} is out of range; it must be {side} {error.validator_value}"
    elif error.validator == "not":
        if not (isinstance(value, dict) and {"source", "weights"} & value.keys()):
            # What decides is missing, which another error says.
            return
        excluded = error.validator_value.get("anyOf", [error.validator_value])
        extra = [name for part in excluded for name in part["required"] if name in value]
        kind = f"source {value['source']}" if "source" in value else f"weights {value['weights']}"
        yield f"{key}: {', '.join(extra)}: not for {kind}; remove"
    else:
        yield f"{key}: {error.message}"


def nearest(value: Any, known: list[Any]) -> str:
    """Return what to write instead of a value: the one most like it, and all that are valid."""
    names = [str(name) for name in known]
    if not names:
        return "nothing can be set here"
    close = difflib.get_close_matches(str(value), names, n=1, cutoff=0.4)
    listed = f"valid: {', '.join(names)}"
    return f"did you mean {close[0]!r}? ({listed})" if close else listed


def typed(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """Return a copy of `value` with numbers where the schema wants them.

    Snakemake reads the values within `--config 'scores={top_n: 8}'` as text.
    """
    schema = _resolve(schema, root)
    if isinstance(value, dict):
        return {name: typed(item, _child(schema, name), root) for name, item in value.items()}
    if isinstance(value, list):
        return [typed(item, schema.get("items", {}), root) for item in value]
    if isinstance(value, str) and {"integer", "number"} & _kinds(schema):
        # Also 2e-4, which YAML 1.1 takes for text.
        with suppress(ValueError):
            value = float(value)
    if isinstance(value, str) and "boolean" in _kinds(schema):
        return {"true": True, "false": False}.get(value.lower(), value)
    if isinstance(value, float) and "integer" in _kinds(schema) and value.is_integer():
        return int(value)
    return value


def _kinds(schema: dict[str, Any]) -> set[str]:
    """Return the JSON types that a schema allows; empty if it does not say."""
    kinds = schema.get("type", [])
    return {kinds} if isinstance(kinds, str) else set(kinds)


def with_defaults(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """Return a copy of `value` in which absent keys have their schema defaults."""
    schema = _resolve(schema, root)
    if isinstance(value, list):
        return [with_defaults(item, schema.get("items", {}), root) for item in value]
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    completed = {}
    for name in [*properties, *(name for name in value if name not in properties)]:
        child = _resolve(_child(schema, name), root)
        if name in value:
            completed[name] = with_defaults(value[name], child, root)
        elif "default" in child:
            completed[name] = with_defaults(child["default"], child, root)
    return completed


def _child(schema: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the schema of one key of an object; empty if there is none."""
    child = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
    return child if isinstance(child, dict) else {}


def _resolve(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with what it refers to merged in."""
    parts = [schema, *schema.get("allOf", [])]
    names = [part["$ref"].rsplit("/", 1)[1] for part in parts if "$ref" in part]
    merged: dict[str, Any] = {}
    for name in names:
        merged |= root["$defs"][name]
    return {**merged, **schema}
