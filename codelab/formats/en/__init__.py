"""Formats of the English pages: ISO 8601 to the second, with the zone."""
