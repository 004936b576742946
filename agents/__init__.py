"""Agents: builds what models get and interprets their answers. Pure: no database, no socket, no broker, no clock."""
