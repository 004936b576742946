"""Who is calling and what they may do: tokens, API keys, sign-in, limits.

`sessions` knows only the protocol `sessions.callers.Caller`, which this package implements. As part of the project it
may import `sessions`, and uses its threads, error codes, ids, REST errors and admin pages.
"""
