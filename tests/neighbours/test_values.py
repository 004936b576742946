"""Values that the database or Python refuses, in every path, query, header and body of the APIs, beside a neighbour."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.live.service import Service
from tests.neighbours.stream import neighbour

pytestmark = pytest.mark.live

NO_ID = "00000000-0000-0000-0000-000000000000"
DIGITS = "9" * 4400
IN_PATHS = ("a%00b", "%ED%A0%80", "%FF", DIGITS)
IN_QUERIES = ("a%00b", DIGITS, str(2**63), "NaN", "1e400")
#: JSON texts: no JSON, not Unicode, too large for a column, too large for a number.
IN_BODIES = ('"a\\u0000"', '"\\ud800"', "1e400", "NaN", "-Infinity", DIGITS, str(2**63), '{"\\u0000": "\\u0000"}')
SESSION = "values"

type Request = tuple[str, str, str | None]


def example(schema: dict[str, Any], schemas: dict[str, Any], depth: int = 0) -> Any:
    """Return a value that fits a JSON schema, more or less."""
    if "$ref" in schema:
        return example(schemas[schema["$ref"].rpartition("/")[2]], schemas, depth + 1)
    for options in (schema.get(name) for name in ("anyOf", "oneOf", "allOf")):
        if options:
            return example(options[0], schemas, depth + 1)
    if depth > 6:
        return None
    match schema.get("type"):
        case "object":
            return {name: example(each, schemas, depth + 1) for name, each in schema.get("properties", {}).items()}
        case "array":
            return [example(schema.get("items", {}), schemas, depth + 1)]
        case "string":
            return NO_ID if schema.get("format") == "uuid" else schema.get("enum", [SESSION])[0]
        case kind:
            return {"integer": 1, "number": 0.5, "boolean": False}.get(str(kind), schema.get("const", "x"))


def with_values(value: Any) -> Iterator[str]:
    """Yield a body as JSON, once with each bad value at each place."""
    places = list(re.finditer(r'"[^"]*"(?!:)|\b0\.5\b|\b1\b|\bfalse\b', text := json.dumps(value)))
    for place in places:
        for bad in IN_BODIES:
            yield text[: place.start()] + bad + text[place.end() :]


def requests(document: dict[str, Any]) -> Iterator[Request]:
    schemas = document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parameters = operation.get("parameters", [])
            ids = {each["name"] for each in parameters if "uuid" in json.dumps(each)}
            names = re.findall(r"\{(\w+)\}", path)
            values = {name: NO_ID if name in ids else SESSION for name in names}
            url = path.format(**values)
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            body = example(content["schema"], schemas) if content else None
            text = None if body is None else json.dumps(body)
            for name in names:
                for bad in IN_PATHS:
                    yield method.upper(), path.format(**{**values, name: bad}), text
            for each in parameters:
                if each["in"] == "query":
                    for bad in IN_QUERIES:
                        yield method.upper(), f"{url}?{each['name']}={bad}", text
            if body is not None:
                for changed in with_values(body):
                    yield method.upper(), url, changed


def status_of(service: Service, method: str, path: str, body: str | None, **headers: str) -> int:
    headers = {"Content-Type": "application/json", **headers}
    data = None if body is None else body.encode()
    request = urllib.request.Request(service.url + path, data=data, headers=headers, method=method)
    return service._answer(request)[0]


@pytest.mark.parametrize("base", ["/api/v1", "/my", "/v1"])
def test_no_value_in_a_request_is_a_fault_of_the_server(service: Service, base: str) -> None:
    document = json.loads(service.get(f"{base}/openapi.json")[1])
    logged = len(service.log_of("web"))
    with neighbour(service):
        for request in requests(document):
            if request[0] == "DELETE" or "/my" in base:
                # Otherwise nothing is found, and nothing else is looked for.
                service.post("/api/v1/sessions", {"session_id": SESSION})
            assert 0 < status_of(service, *request) < 500, [each and each[:300] for each in request]
    for line in service.log_of("web")[logged:].splitlines():
        # Errors of the database that no check of the input has prevented.
        assert not re.search("value_not_stored|request_crashed|request_not_stored", line), line


@pytest.mark.parametrize("number", [DIGITS, str(2**63)])
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_a_stream_that_goes_on_after_an_impossible_number_is_refused(
    service: Service, number: str, accept: str
) -> None:
    service.post("/api/v1/sessions", {"session_id": SESSION})
    path, headers = f"/api/v1/sessions/{SESSION}/events", {"Accept": accept}
    assert status_of(service, "GET", path, None, **headers, **{"Last-Event-ID": number}) == 400
    assert status_of(service, "GET", f"{path}?after={number}", None, **headers) == 400


async def test_a_socket_answers_such_values_with_an_error_and_stays_open(service: Service) -> None:
    frames = [
        '{"type": "tool_result", "call_id": "a\\u0000", "result": 1}',
        '{"type": "tool_result", "call_id": "a", "result": 1e400}',
        '{"type": "hitl_decision", "call_id": "a\\u0000", "decision": "approve"}',
        '{"type": "hitl_decision", "call_id": "a", "decision": "edit", "modified_arguments": {"\\u0000": 1e400}}',
        '{"type": "switch_agent", "agent_type": "\\u0000"}',
        '{"type": "plan_decision", "plan_id": "\\u0000", "decision": "approve"}',
        f'{{"type": "user_message", "content": "x", "interrupt": {DIGITS}}}',
    ]
    with neighbour(service):
        async with service.connect(f"/ws/value-frames?after={DIGITS}&client_id=%00{'x' * 3000}") as alice:
            for frame in frames:
                await alice.send(frame)
                answer = await alice.receive()
                assert answer["type"] == "error"
                assert answer["error_code"] not in ("storage_unavailable", "internal_error"), frame
            await alice.say("/say alive")
            assert (await alice.until_final())[-1]["content"] == "alive"
