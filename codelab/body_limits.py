"""How large the body of a request may be.

Daphne reads the whole body before the application knows who sends it. So `codelab.web_server` refuses what no path
accepts, and the application enforces the lower limits of single paths. This module must not import Django: the server
imports it before the apps exist.
"""

#: The OpenAI-compatible API, whose requests contain images. No other path accepts more.
MAX_OPENAI_BODY_BYTES = 16 * 1024 * 1024
#: Any request. The margin lets the application itself refuse a body that is only just too large.
MAX_BODY_BYTES = MAX_OPENAI_BODY_BYTES + 64 * 1024
