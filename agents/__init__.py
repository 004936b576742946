"""Agents: build the models' input and interpret the answers. Pure: no database, no socket, no broker, no clock."""
