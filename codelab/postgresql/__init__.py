"""Django's backend for PostgreSQL, with time limits that are set after the connect (Django looks for `base` here)."""
