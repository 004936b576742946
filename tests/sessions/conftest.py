"""The session that most tests of this folder tell a story about."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from sessions.models import Session
from sessions.turns.sessions import open_session


@pytest.fixture
def session(alice: User) -> Session:
    """A session of Alice."""
    return open_session(alice.pk, "s")
