"""The JSON Schema (draft 2020-12) of the configuration, for editors: our keys, and each plugin's options by `kind`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from keyturn.config.accounts import Find, NoOptions
from keyturn.config.sections import (
    ACCOUNT,
    NAME,
    SHARE,
    DefaultsSection,
    OverlapSection,
    RootSection,
    RotateSection,
    SecretSection,
    lead,
)
from keyturn.errors import UsageError
from keyturn.options import DURATION, seconds
from keyturn.plugins.hookspecs import Kind, Plugin

DIALECT = "https://json-schema.org/draft/2020-12/schema"
REF = "#/$defs/{model}"
ANY_SCALAR = ["string", "number", "boolean"]

Schema = dict[str, Any]


class _AsWritten(GenerateJsonSchema):
    """Options as people write them: durations and windows are texts, and an unquoted number is a text as well."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        """A converted text is a text in the file."""
        function: Any = schema["function"]["function"]
        if function is seconds:
            return {"type": "string", "pattern": f"^(?:{DURATION.pattern})+$"}
        if function is lead:
            return {"type": "string", "pattern": f"^(?:(?:{DURATION.pattern})+|{SHARE.pattern})$"}
        return {"type": "string"}

    def str_schema(self, schema: core_schema.StringSchema) -> JsonSchemaValue:
        """Scalars stay text, so `0123` and `no` are texts without quotes."""
        made = super().str_schema(schema)
        return {**made, "type": ANY_SCALAR} if set(made) == {"type"} else made


def json_schema(find: Find, names: Mapping[Kind, Iterable[str]]) -> Schema:
    """The schema, with the options of the plugins named. One that `find` refuses is left out."""
    plugins = {kind: _found(find, kind, names.get(kind, ())) for kind in Kind}
    defs: Schema = {}
    root = _model(RootSection, defs)
    root["properties"]["keyturn"] = {"enum": [1, "1"], "description": "the version of this format"}
    for section, kind in (("providers", Kind.PROVIDER), ("sinks", Kind.SINK)):
        _fill(root, section, _names(_account(plugins[kind], defs), ACCOUNT.pattern))
    _fill(root, "secrets", _names(_secret(plugins, defs), NAME.pattern))
    of_all: Schema = _model(DefaultsSection, defs)
    _fill(of_all, "rotate", _ref(RotateSection, defs))
    _fill(of_all, "overlap", _ref(OverlapSection, defs))
    defs["DefaultsSection"] = of_all
    return {"$schema": DIALECT, "title": "Keyturn configuration", **root, "$defs": defs}


def _found(find: Find, kind: Kind, names: Iterable[str]) -> list[Plugin]:
    plugins = []
    for name in sorted(names):
        try:
            plugins.append(find(kind, name))
        except UsageError:
            continue
    return plugins


def _model(model: type[BaseModel], defs: Schema) -> Schema:
    """The model's own schema; the types it uses go to `defs`."""
    made: Schema = model.model_json_schema(schema_generator=_AsWritten, ref_template=REF)
    defs.update(made.pop("$defs", {}))
    made.pop("title", None)
    return made


def _ref(model: type[BaseModel], defs: Schema) -> Schema:
    defs.setdefault(model.__name__, _model(model, defs))
    return {"$ref": REF.format(model=model.__name__)}


def _fill(schema: Schema, key: str, made: Schema) -> None:
    """Say what may stand under a key that the model leaves open; its description stays."""
    schema["properties"][key] = {"description": schema["properties"][key]["description"], **made}


def _names(entry: Schema, pattern: str) -> Schema:
    return {"type": "object", "propertyNames": {"pattern": f"^{pattern}$"}, "additionalProperties": entry}


def _account(plugins: list[Plugin], defs: Schema) -> Schema:
    choices = [{"const": plugin.name, "description": plugin.summary} for plugin in plugins]
    arms = [_arm(plugin, defs) for plugin in plugins]
    kind: Schema = {"type": "string", "description": "the plugin"}
    return {
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {**kind, "anyOf": choices} if choices else kind},
        "allOf": arms,
    }


def _arm(plugin: Plugin, defs: Schema) -> Schema:
    """If the kind is this plugin's, then exactly its options."""
    options = _private(plugin, plugin.account or NoOptions, defs)
    options["properties"] = {"kind": True, **options.get("properties", {})}
    return {"if": {"properties": {"kind": {"const": plugin.name}}, "required": ["kind"]}, "then": options}


def _private(plugin: Plugin, model: type[BaseModel], defs: Schema) -> Schema:
    """A plugin's option type; the types it uses are kept apart from other plugins' by a prefix."""
    prefix = f"{plugin.kind.value}-{plugin.name}-"
    made: Schema = model.model_json_schema(schema_generator=_AsWritten, ref_template=f"#/$defs/{prefix}{{model}}")
    defs.update({f"{prefix}{name}": inner for name, inner in made.pop("$defs", {}).items()})
    made.pop("title", None)
    return made


def _secret(plugins: Mapping[Kind, list[Plugin]], defs: Schema) -> Schema:
    """A secret. Which plugin checks a target or a place hangs on account names, which a schema can not follow."""
    secret = _model(SecretSection, defs)
    targets = [_private(plugin, plugin.target or NoOptions, defs) for plugin in plugins[Kind.PROVIDER]]
    if targets:
        secret["properties"]["target"] = {"anyOf": targets, "description": "what to rotate: the provider's options"}
    places = [_place(plugin, defs) for plugin in plugins[Kind.SINK]]
    if places:
        secret["properties"]["sinks"]["items"] = {"anyOf": places}
    strategies = ["auto", *(plugin.name for plugin in plugins[Kind.OVERLAP])]
    defs["OverlapSection"]["properties"]["strategy"]["examples"] = strategies
    return secret


def _place(plugin: Plugin, defs: Schema) -> Schema:
    place = _private(plugin, plugin.target or NoOptions, defs)
    text = {"type": ANY_SCALAR}
    place["properties"] = {
        "to": {**text, "description": "the sink's name"},
        "fields": {
            "description": "fields to publish, or a map of sink field: bundle field (all but artefacts unless set)",
            "anyOf": [{"type": "array", "items": text}, {"type": "object", "additionalProperties": text}],
        },
        **place.get("properties", {}),
    }
    place["required"] = ["to", *place.get("required", [])]
    return place
