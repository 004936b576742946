"""Users' own keys for providers.

They are stored encrypted. Only a worker must read one, for a model call; no API ever returns one.
"""

from django.conf import settings

from llm import keys
from llm.types import Endpoint
from sessions.billing import encryption
from sessions.errors import ModelCallDenied
from sessions.models import ProviderKey
from sessions.protocol.codes import ErrorCode
from sessions.statements import prepared

#: The last characters of a shorter key would give too much of it away.
MIN_HINT_LENGTH = 12
#: The providers that a user has keys for.
_PROVIDERS = "SELECT provider FROM agent_sessions_providerkey WHERE owner_id = %s"


def store(owner_id: int, provider: str, secret: str, api_base: str) -> ProviderKey:
    """Store a user's key for a provider in place of an older one. The next model call uses it."""
    fields = {
        "secret": encryption.encrypt(secret, _place(owner_id, provider)),
        "last_four": secret[-4:] if len(secret) >= MIN_HINT_LENGTH else "",
        "api_base": api_base,
    }
    return ProviderKey.objects.update_or_create(owner_id=owner_id, provider=provider, defaults=fields)[0]


def find(owner_id: int, provider: str) -> ProviderKey | None:
    """Return a user's key for a provider without its secret, or None."""
    return ProviderKey.objects.filter(owner_id=owner_id, provider=provider).defer("secret").first()


def all_of(owner_id: int) -> list[ProviderKey]:
    """Return all of a user's keys for providers without their secrets."""
    return list(ProviderKey.objects.filter(owner_id=owner_id).defer("secret").order_by("provider"))


def remove(owner_id: int, provider: str) -> bool:
    """Delete a user's key for a provider; return whether it existed."""
    return bool(ProviderKey.objects.filter(owner_id=owner_id, provider=provider).delete()[0])


def providers_of(owner_id: int) -> frozenset[str]:
    """Return the providers that a user has a key for."""
    return frozenset(name for (name,) in prepared(_PROVIDERS, owner_id))


def endpoint(owner_id: int, provider: str) -> Endpoint | None:
    """Return the endpoint of a user's own key for a provider, or None without a key. Raises ModelCallDenied."""
    key = ProviderKey.objects.filter(owner_id=owner_id, provider=provider).first()
    if key is None:
        return None
    try:
        secret = encryption.decrypt(key.secret, _place(owner_id, provider))
    except encryption.Unreadable:
        text = f"The server cannot read your key for {provider} any more. Store it again, or delete it."
        raise ModelCallDenied(ErrorCode.PROVIDER_KEY_UNREADABLE, text) from None
    # Keys that were stored before they were trimmed.
    secret = keys.trim(secret)
    return Endpoint(api_base=key.api_base, api_key=secret, allow_private=bool(settings.CODELAB_PRIVATE_MODEL_ADDRESSES))


def _place(owner_id: int, provider: str) -> str:
    return f"provider key of user {owner_id} for {provider}"
