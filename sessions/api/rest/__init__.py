"""REST: sessions and messages, agents, approvals, tool calls, images, rules, settings, usage, models, budgets, keys.

Everything is looked up through its owner. A session's name may have slashes, so the deeper paths are mounted before
those of a session.
"""

from __future__ import annotations

from ninja import Router

from sessions.api.rest import (
    agents,
    approvals,
    budgets,
    images,
    models,
    provider_keys,
    rules,
    sessions,
    settings,
    tool_calls,
    usage,
)

router = Router()
for _part in (agents, approvals, tool_calls, images, rules, settings, usage, models, budgets, provider_keys, sessions):
    router.add_router("", _part.router)
