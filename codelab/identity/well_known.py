"""`/.well-known/`: the keys that verify access tokens, and the addresses that OAuth clients look up."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_GET

from codelab.identity.keys import JWKS_MAX_AGE_SECONDS, signing_keys
from codelab.identity.models import Scope
from sessions.database import in_thread

#: How a client may authenticate at both endpoints; a public one only names itself.
CLIENT_AUTHENTICATION = ["client_secret_basic", "client_secret_post", "none"]


@require_GET
async def jwks(_request: HttpRequest) -> HttpResponse:
    """Return the public keys that verify access tokens."""
    keys = await in_thread(signing_keys)()
    return _public(keys.public.as_dict(private=False))


@require_GET
async def authorization_server(request: HttpRequest) -> HttpResponse:
    """Describe the token endpoint (RFC 8414). There is no page that grants access, so `response_types` are none."""

    def address(name: str) -> str:
        return request.build_absolute_uri(reverse(name))

    return _public(
        {
            "issuer": settings.CODELAB_TOKEN_ISSUER,
            "token_endpoint": address("token"),
            "token_endpoint_auth_methods_supported": CLIENT_AUTHENTICATION,
            "revocation_endpoint": address("revoke"),
            "revocation_endpoint_auth_methods_supported": CLIENT_AUTHENTICATION,
            "jwks_uri": address("jwks"),
            "grant_types_supported": ["password", "refresh_token", "client_credentials"],
            "response_types_supported": [],
            "scopes_supported": Scope.values,
        }
    )


def _public(body: object) -> HttpResponse:
    response = JsonResponse(body)
    response["Cache-Control"] = f"public, max-age={JWKS_MAX_AGE_SECONDS}"
    return response
