"""JSON Schemas that clients send for the arguments of their tools: is it one, and do arguments fit it?

A schema is a stranger's program, and checks hold up the whole process. Nothing is fetched for it, and its work is
bounded: references are written out up to MAX_PARTS parts, a pattern that backtracks too much is not matched, and
arguments that are too long for their schema are not checked. What lies beyond a limit is left to the client, which runs
the tool. So a schema never refuses a call because of a limit, and never holds up a process.
"""

import json
from functools import lru_cache
from typing import Any

from jsonschema_rs import FancyRegexOptions, ValidationError, ValidationErrorKind, Validator, validator_for

from llm.sizes import find_json_problem

#: Characters of a schema as JSON text, and its levels.
MAX_SCHEMA_CHARACTERS, MAX_SCHEMA_DEPTH = 32_000, 40
#: Of a schema whose references are written out: parts, levels, and how often one reference may stand within itself.
MAX_PARTS, MAX_LEVELS, MAX_NESTED_REFERENCES = 2_000, 60, 3
#: Characters of arguments times the weight of their schema: its characters, and more for each pattern, which may read
#: a text thousands of times. Some tenths of a second.
MAX_WORK, PATTERN_WEIGHT = 200_000_000, 2_000
#: Characters of a problem that the model is told.
MAX_PROBLEM_CHARACTERS = 300

#: A pattern that was not matched to its end.
_UNMATCHED = (ValidationErrorKind.BacktrackLimitExceeded, ValidationErrorKind.RegexEngineFailure)
_PATTERNS = FancyRegexOptions(backtrack_limit=5_000, size_limit=200_000, dfa_size_limit=200_000)
#: They look at all parts beside them once more, so within each other they double the work at each level.
_UNEVALUATED = frozenset({"unevaluatedItems", "unevaluatedProperties"})
#: Keywords by what they hold: one schema, a list of schemas, schemas by name.
_ONE = frozenset(
    {"items", "additionalProperties", "additionalItems", "contains", "propertyNames", "not", "if", "then", "else"}
    | _UNEVALUATED
)
_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems", "items"})
_NAMED = frozenset({"properties", "patternProperties", "dependentSchemas"})
#: A part that is left out of these would make them stricter.
_NEEDS_ALL = frozenset({"not", "oneOf", "if", "contains"}) | _UNEVALUATED
#: They refer to other parts, or say where those are.
_REFERENCES = frozenset(
    {"$ref", "$dynamicRef", "$recursiveRef", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$id", "id"}
    | {"$defs", "definitions", "dependencies", "$schema"}
)


def find_schema_problem(schema: dict[str, Any]) -> str:
    """Return why a value is not a JSON Schema of a tool's arguments, as the rest of a sentence, or an empty text."""
    if problem := find_json_problem(schema):
        return problem
    if _depth(schema) > MAX_SCHEMA_DEPTH:
        return f"is nested more than {MAX_SCHEMA_DEPTH} levels deep"
    if len(json.dumps(schema, ensure_ascii=False)) > MAX_SCHEMA_CHARACTERS:
        return f"has more than {MAX_SCHEMA_CHARACTERS:,} characters"
    if schema.get("type") != "object":
        return 'must have `"type": "object"`'
    if not isinstance(schema.get("properties", {}), dict):
        return "must have an object in `properties`"
    try:
        _compile(schema)
    except ValidationError as error:
        return f"is not a JSON Schema: {_sentence(error)}"
    except ValueError as error:
        return f"is not a JSON Schema: {str(error)[:MAX_PROBLEM_CHARACTERS]}"
    return ""


def find_argument_problem(schema: str, arguments: dict[str, Any]) -> str:
    """Return why arguments do not fit a schema, given as JSON text, or an empty text."""
    validator, weight = _validator(schema)
    if weight * len(json.dumps(arguments)) > MAX_WORK:
        return ""
    try:
        validator.validate(arguments)
    except ValidationError as error:
        # What takes too long to match is the client's to check.
        return "" if isinstance(error.kind, _UNMATCHED) else _sentence(error)
    return ""


# A schema takes up to some milliseconds to prepare, and a session uses the same ones for hours.
@lru_cache(maxsize=500)
def _validator(schema: str) -> tuple[Validator, int]:
    """Return the validator of a schema, and its weight."""
    written = _WrittenOut(json.loads(schema))
    return _compile(written.root), len(json.dumps(written.root)) + PATTERN_WEIGHT * written.patterns


def _compile(schema: Any) -> Validator:
    """Raise ValueError for what is not a schema, and for a reference to another document, which is not fetched."""
    return validator_for(schema, offline=True, pattern_options=_PATTERNS, validate_formats=False)


def _depth(value: Any) -> int:
    """Return how many levels of objects and lists a value has. Its depth is bounded already."""
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, children), default=0) if isinstance(value, dict | list) else 0


def _sentence(error: ValidationError) -> str:
    place = ".".join(str(part) for part in error.instance_path)
    text = f"`{place}`: {error.message}" if place else str(error.message)
    return text if len(text) <= MAX_PROBLEM_CHARACTERS else f"{text[: MAX_PROBLEM_CHARACTERS - 1]}…"


class _WrittenOut:
    """A schema with each reference replaced by what it refers to, as far as the limits allow."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._document = schema
        self._parts = self._level = self.patterns = 0
        self._open: list[str] = []
        #: Before 2019 nothing counted beside a reference.
        self._has_plain_references = "draft-0" in str(schema.get("$schema"))
        self.root = self._part(schema)[0]
        if isinstance(self.root, dict) and "$schema" in schema:
            self.root = {"$schema": schema["$schema"], **self.root}

    def _part(self, schema: Any) -> tuple[Any, bool]:
        """Return a part, and whether it is complete. An incomplete one accepts more than it should."""
        if not isinstance(schema, dict):
            return schema, True
        self._parts += 1
        if self._parts > MAX_PARTS or self._level == MAX_LEVELS:
            return {}, False
        if self._has_plain_references and "$ref" in schema:
            return self._target(schema["$ref"])
        self._level += 1
        try:
            return self._object(schema)
        finally:
            self._level -= 1

    def _object(self, schema: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        out: dict[str, Any] = {}
        is_complete = True
        for keyword, value in schema.items():
            if keyword in _REFERENCES:
                continue
            if keyword in _UNEVALUATED and self._level > 1:
                is_complete = False
                continue
            built, has_all = self._keyword(keyword, value)
            is_complete = is_complete and has_all
            if has_all or keyword not in _NEEDS_ALL:
                out[keyword] = built
        if "if" not in out:
            out = {keyword: value for keyword, value in out.items() if keyword not in ("then", "else")}
        for keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
            if keyword in schema:
                target, has_all = self._target(schema[keyword])
                is_complete = is_complete and has_all
                out["allOf"] = [*out.get("allOf", ()), target]
        is_complete = is_complete and "dependencies" not in schema
        if not is_complete:
            out = {keyword: value for keyword, value in out.items() if keyword not in _UNEVALUATED}
        return out, is_complete

    def _keyword(self, keyword: str, value: Any) -> tuple[Any, bool]:
        if keyword in ("pattern", "patternProperties"):
            self.patterns += len(value) if isinstance(value, dict) else 1
        if keyword in _LISTS and isinstance(value, list):
            parts = [self._part(each) for each in value]
            return [part for part, _ in parts], all(has_all for _, has_all in parts)
        if keyword in _NAMED and isinstance(value, dict):
            named = {name: self._part(each) for name, each in value.items()}
            return {name: part for name, (part, _) in named.items()}, all(has_all for _, has_all in named.values())
        return self._part(value) if keyword in _ONE else (value, True)

    def _target(self, reference: Any) -> tuple[Any, bool]:
        if not isinstance(reference, str) or self._open.count(reference) >= MAX_NESTED_REFERENCES:
            return {}, False
        found = _look_up(self._document, reference)
        if found is None:
            return {}, False
        self._open.append(reference)
        try:
            return self._part(found)
        finally:
            self._open.pop()


def _look_up(document: Any, reference: str) -> Any:
    """Return what a JSON pointer such as `#/$defs/item` names, or None: other references are left to the client."""
    if reference == "#":
        return document
    if not reference.startswith("#/"):
        return None
    for step in reference[2:].split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document.get(name)
        elif isinstance(document, list) and name.isdecimal() and int(name) < len(document):
            document = document[int(name)]
        else:
            return None
    return document
