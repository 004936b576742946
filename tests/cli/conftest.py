"""A user's home and an empty workspace, for tests that run `codelab`."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return the home of a user."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty workspace."""
    path = tmp_path / "work"
    path.mkdir()
    return path
