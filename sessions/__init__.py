"""Sessions: what is stored, how it reaches clients, and when turns run. Stands above `agents` and `llm`."""
