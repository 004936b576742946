"""The Messages API, in Anthropic's words: `/v1/messages`, `/v1/messages/count_tokens`, and the list of models.

A request becomes a turn, as for the other APIs (`sessions.api.completions`), and its events become Anthropic's. Nothing
here calls a model.
"""
