"""The Django project: settings, servers, wiring. It has no domain words; those live in sessions, agents and llm."""
