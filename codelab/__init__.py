"""The Django project: settings, processes, URLs, identity. It wires the packages below and may import them all."""
