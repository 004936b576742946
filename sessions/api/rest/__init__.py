"""The REST API. Every look-up is by owner.

A session's key may contain slashes, so the paths below a session are mounted before those of the session itself.
"""

from ninja import Router

from sessions.api.rest import (
    agents,
    approvals,
    budgets,
    export,
    images,
    inbox,
    markdown,
    models,
    provider_keys,
    rules,
    sessions,
    usage,
    workspaces,
)

router = Router()
_PARTS = (
    agents,
    approvals,
    inbox,
    images,
    workspaces,
    rules,
    usage,
    markdown,
    models,
    budgets,
    provider_keys,
    export,
    sessions,
)
for _part in _PARTS:
    router.add_router("", _part.router)
