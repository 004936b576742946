"""Says where an answer came from. What only its provider understands goes back there, and to no other provider."""

import os
from hashlib import sha256

from llm import catalog
from llm.types import Endpoint

#: The origin of answers from Anthropic's own API.
ANTHROPIC = "anthropic"


def origin_of(model: str, endpoint: Endpoint | None = None) -> str:
    """Return a name for the server that a model's call goes to: of its provider, and of its address if it is not the
    provider's own.

    The models of a provider share an origin. Where one provider passes on those of others, such as
    `openrouter/anthropic/…`, only those of the same maker do.
    """
    name = model.rpartition("/")[0]
    provider = catalog.provider_of(model)
    variables = provider.base_variables if provider else ()
    base = endpoint.api_base if endpoint else ""
    base = base or next((value for variable in variables if (value := os.environ.get(variable))), "")
    # An address may contain a secret.
    return f"{name}@{sha256(base.encode(errors='replace')).hexdigest()[:16]}" if base else name
