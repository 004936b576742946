"""Runs turns. Never imported by a web process."""
