"""Tests of one user's trouble beside another user's stream.

Each has an attacker, a neighbour (`tests.neighbours.stream`) and a clear error for the attacker:

    with neighbour(service):
        status, answer = service.post("/v1/chat/completions", …)
    assert (status, json.loads(answer)["error"]["code"]) == (404, "model_not_found")

The fixtures `service` (scripted model) and `provided_service` (a provider that the test controls) are shared with
other tests, so a test that ends or changes a process starts one of its own with `running`.
"""
