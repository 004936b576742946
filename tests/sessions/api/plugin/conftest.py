"""The callers of the REST tests, for the tests of paths below /my/."""

from __future__ import annotations

from tests.sessions.api.rest.conftest import as_alice, as_bob, loop

__all__ = ["as_alice", "as_bob", "loop"]
