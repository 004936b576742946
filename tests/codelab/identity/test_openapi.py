"""What the REST API's description says of credentials and names."""

from __future__ import annotations

import pytest

from codelab.rest_api import JsonApi, api, plugin_api


@pytest.mark.parametrize("described", [api, plugin_api])
def test_operations_name_their_credentials_and_have_short_ids(described: JsonApi) -> None:
    schema = described.get_openapi_schema()
    operations = [operation for path in schema["paths"].values() for operation in path.values()]

    assert schema["components"]["securitySchemes"]["Credentials"]["scheme"] == "bearer"
    assert all(operation["security"] == [{"Credentials": []}] for operation in operations)
    ids = [operation["operationId"] for operation in operations]
    assert all(name.isidentifier() and "codelab" not in name and "sessions_api" not in name for name in ids)
    assert len(set(ids)) == len(ids)
