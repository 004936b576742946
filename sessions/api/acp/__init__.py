"""The Agent Client Protocol, version 1, over a WebSocket: editors follow and drive sessions (docs/acp.md).

It only translates: what a client asks for goes to the same verbs as the frames of the other APIs, and each update comes
from an event, whose number is its cursor. So a client that connects again gets exactly what it has missed.
"""
