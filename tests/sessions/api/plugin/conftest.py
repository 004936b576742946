"""The callers of tests/rest, for the tests of what is below /my/."""

from __future__ import annotations

from tests.sessions.api.rest.conftest import as_alice, as_bob, loop

__all__ = ["as_alice", "as_bob", "loop"]
