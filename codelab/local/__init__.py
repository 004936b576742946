"""`make run`: the whole service on one machine, with nothing installed but Python.

It starts PostgreSQL and Redis from Python wheels, makes up the secrets and supervises the four processes. Nothing of
this is used where the service is deployed; only the tests share `servers`.
"""
