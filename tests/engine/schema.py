"""As much of JSON Schema as the schema of `run.json` uses."""

from __future__ import annotations

from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_KNOWN = {
    *("$ref", "$defs", "$schema", "title", "description", "default", "examples"),
    *("type", "enum", "const", "anyOf", "properties", "required", "additionalProperties", "items"),
}


def violations(
    value: Any, schema: dict[str, Any], root: dict[str, Any], at: str = "$"
) -> list[str]:
    """What in a value is not as its schema wants it."""
    unknown = set(schema) - _KNOWN
    assert not unknown, f"this validator does not know {unknown}"
    if "$ref" in schema:
        return violations(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root, at)
    if "anyOf" in schema:
        tried = [violations(value, each, root, at) for each in schema["anyOf"]]
        return [] if [] in tried else [found for each in tried for found in each]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{at}: {value!r} is none of {schema['enum']}"]
    if "const" in schema and value != schema["const"]:
        return [f"{at}: {value!r} is not {schema['const']!r}"]
    if "type" in schema and not _is(value, schema["type"]):
        return [f"{at}: {value!r} is no {schema['type']}"]
    if isinstance(value, dict):
        return _in_object(value, schema, root, at)
    if isinstance(value, list) and "items" in schema:
        found = [violations(v, schema["items"], root, f"{at}[{i}]") for i, v in enumerate(value)]
        return [each for part in found for each in part]
    return []


def _is(value: Any, names: str | list[str]) -> bool:
    wanted = [names] if isinstance(names, str) else names
    if isinstance(value, bool):
        return "boolean" in wanted
    return any(isinstance(value, _TYPES[name]) for name in wanted)


def _in_object(
    value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], at: str
) -> list[str]:
    found = [f"{at}: no {name}" for name in schema.get("required", ()) if name not in value]
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    for name, inner in value.items():
        if name in known:
            found += violations(inner, known[name], root, f"{at}.{name}")
        elif isinstance(others, dict):
            found += violations(inner, others, root, f"{at}.{name}")
        elif known:
            found.append(f"{at}: the schema has no {name}")
    return found
