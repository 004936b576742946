"""The WebSocket: one socket follows one session."""
