"""Doors: WebSocket, REST, the OpenAI-compatible API, the plugin's API. They translate requests and results and hold
no logic.
"""
