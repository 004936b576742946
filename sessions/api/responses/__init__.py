"""The Responses API: `/v1/responses`.

A request becomes a turn, and its events become OpenAI's items and events. What is stored of it are the turn's own rows,
so a response can be read, followed, continued and cancelled for as long as they are kept.
"""
