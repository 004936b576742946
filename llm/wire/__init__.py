"""OpenAI's chat completions and embeddings: builds requests, reads answers and refusals. No module here does I/O."""
