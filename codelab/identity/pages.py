"""The pages for signing in and out, for users of the chat page. The admin has its own pages, for staff."""

from typing import Any

from django.conf import settings
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.utils.csp import CSP, build_policy
from django.views.decorators.vary import vary_on_headers

from codelab.identity.address import address_of
from codelab.identity.backend import lockout_seconds
from sessions.api.language import language_of, translate

POLICY = build_policy(
    {
        "default-src": CSP.NONE,
        "style-src": CSP.SELF,
        "img-src": CSP.SELF,
        "base-uri": CSP.NONE,
        "form-action": CSP.SELF,
        "frame-ancestors": CSP.NONE,
    }
)


#: The page for the account is a client of the REST API.
ACCOUNT_POLICY = build_policy(
    {
        "default-src": CSP.NONE,
        "script-src": CSP.SELF,
        "style-src": CSP.SELF,
        "connect-src": CSP.SELF,
        "img-src": CSP.SELF,
        "base-uri": CSP.NONE,
        "form-action": CSP.SELF,
        "frame-ancestors": CSP.NONE,
    }
)


@vary_on_headers("Accept-Language", "Cookie")
def account(request: HttpRequest) -> HttpResponse:
    """Show the page for the account, which reads and changes everything through the public API."""
    response = render(request, "identity/account.html", {"languages": settings.LANGUAGES})
    response[CSP.HEADER_ENFORCE] = ACCOUNT_POLICY
    return response


class SignInForm(AuthenticationForm):
    """Django's form; its error says for how long sign-in is blocked."""

    def get_invalid_login_error(self) -> ValidationError:
        """Return why the sign-in failed."""
        address = address_of(self.request) if self.request is not None else ""
        language = language_of(self.request) if self.request is not None else settings.LANGUAGE_CODE
        seconds = lockout_seconds(self.cleaned_data.get("username") or "", address)
        if seconds:
            text = translate("Too many failed attempts. Try again in {seconds} s.", language, seconds=seconds)
            return ValidationError(text, code="locked")
        return ValidationError(translate("Wrong username or password.", language), code="invalid_login")


class SignIn(LoginView):
    """The sign-in form; a user who is signed in can sign out here."""

    form_class = SignInForm
    template_name = "identity/login.html"
    extra_context = {"languages": settings.LANGUAGES}

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Add a policy with which the page loads and sends nothing elsewhere."""
        response = super().dispatch(request, *args, **kwargs)
        response[CSP.HEADER_ENFORCE] = POLICY
        patch_vary_headers(response, ["Accept-Language"])
        return response


class SignOut(LogoutView):
    """Ends the browser's session; its sockets close within a minute."""
