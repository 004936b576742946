"""Agents: what is said to a model and what its answer means. Pure: no database, no socket, no broker, no clock."""
