"""`make run`: the whole service on one machine that has only Python.

It starts PostgreSQL and Redis from Python wheels, generates the secrets and supervises the four processes. Deployments
use none of it; tests and the benchmark share the servers.

* `startup` is the sequence of steps, `supervisor` keeps the programs running.
* `managed_server` is the base of `embedded_servers`, PostgreSQL and Redis.
* `accounts` generates passwords and prepares the database.
* `operating_system`, `terminal` and `output` are about this machine, its terminal and the lines on it.
"""
