"""REST and NDJSON below `/my/`, as the original's VS Code plugin speaks them: projects, chats, tools, events.

Another way to the same sessions, turns, events and verbs; nothing but the project itself is stored for it. A session is
known by its uuid here, which is its name everywhere else, too. Answers are what the plugin's schemas let pass.
"""

from __future__ import annotations

from ninja import Router

from sessions.api.plugin import agents, chats, projects, tools

router = Router(tags=["plugin"])
for _part in (projects, agents, chats, tools):
    router.add_router("", _part.router)
