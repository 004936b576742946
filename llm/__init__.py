"""Models: one port to all of them. Knows neither agents nor sessions; only `llm.gateway` imports LiteLLM."""
