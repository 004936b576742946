"""The OpenAI-compatible API: `/v1/chat/completions`, `/v1/embeddings`, `/v1/models`.

A request becomes a turn, in a session of its own or in the live one that a header names, and its events become
OpenAI's chunks. Nothing here calls a model, and no request holds a thread while it waits.
"""
