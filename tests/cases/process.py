"""Starts a process of the service in which each play has an agent of its own.

A service remembers what a provider refuses, so no two plays may share one. The agent of a play is the universal one
with the play's provider as its only model. The universal agent itself has the scripted model, for cases without a
provider; `plain` is the universal agent as it is.
"""

from __future__ import annotations

import tomllib

from agents import roles
from codelab.__main__ import main
from codelab.environment import environment

PLAIN = "plain"


class _Agent(roles.Role):
    """An agent without the server's model as its fallback."""

    def choose_models(self, default: str) -> tuple[str, tuple[str, ...] | None]:
        return self.models[0], None


def _add_agents() -> None:
    assert environment.catalog
    known = roles.ROLES
    assert isinstance(known, dict)
    facts = dict(roles.UNIVERSAL)
    known[PLAIN] = roles.UNIVERSAL.model_copy(update={"name": PLAIN})
    known["universal"] = _Agent.model_construct(**facts | {"models": ("scripted",)})
    for name in tomllib.loads(environment.catalog.read_text(encoding="utf-8"))["providers"]:
        known[name] = _Agent.model_construct(**facts | {"name": name, "models": (f"{name}/fake",)})


if __name__ == "__main__":
    import os

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "codelab.settings")
    _add_agents()
    main()
