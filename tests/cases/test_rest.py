"""Cases of requests to the REST API."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.cases.files import cases
from tests.live.service import Service

pytestmark = pytest.mark.live

CASES = cases("rest")


def send(service: Service, request: str) -> tuple[int, str]:
    method, path, *body = request.split(" ", 2)
    with httpx.Client(base_url=service.url, trust_env=False, timeout=30) as http:
        answer = http.request(method, path, json=json.loads(body[0]) if body else None)
    found = answer.json()
    return answer.status_code, str(found.get("error_code") or found.get("error"))


@pytest.mark.parametrize("case_id", sorted(CASES))
def test_nul_in_a_name(case_id: str, case_service: Service) -> None:
    wanted = {(404, "session_not_found"), (400, "invalid_session_key"), (400, "invalid_text")}
    found = {request: send(case_service, request) for request in CASES[case_id]["input"]}
    assert {request: answer for request, answer in found.items() if answer not in wanted} == {}


def test_near_inputs_stay_right(case_service: Service) -> None:
    (kept,) = CASES["rest-nul-in-session-name"]["keep"]
    assert send(case_service, kept["input"]) == (400, "invalid_text")
