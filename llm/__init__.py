"""Models: one interface to all providers. Knows neither agents nor sessions; only `llm.gateway` imports LiteLLM."""
