"""REST endpoints of the original's gateway beside those for sessions and messages, which are in `sessions.api`.

Agents, approvals, open calls, images, rules, settings, usage, models, budgets, provider keys. Everything is looked
up through its owner. Their paths are deeper than those of a session, whose name may have slashes, so this router is
mounted before that one.
"""

from __future__ import annotations

from ninja import Router

from sessions.rest import agents, approvals, budgets, images, llm, providerkeys, rules, settings, toolcalls, usage

router = Router()
for _part in (agents, approvals, toolcalls, images, rules, settings, usage, llm, budgets, providerkeys):
    router.add_router("", _part.router)
