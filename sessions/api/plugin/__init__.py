"""REST and NDJSON below `/my/` for the original's VS Code plugin: projects, chats, tools, events.

It uses the same sessions, turns and events as the other APIs, and stores nothing but projects. A session's key is its
uuid. Answers have the fields that the plugin's schemas accept.
"""

from ninja import Router

from sessions.api.plugin import agents, chats, projects, tools

router = Router(tags=["plugin"])
for _part in (projects, agents, chats, tools):
    router.add_router("", _part.router)
