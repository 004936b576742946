"""The APIs: WebSocket, REST, OpenAI-compatible and plugin. They translate requests and results and hold no logic."""
