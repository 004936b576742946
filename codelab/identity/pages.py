"""Signing in and out in a browser, for users of the chat page. The admin has its own page, for staff."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.csp import CSP, build_policy

from codelab.identity.address import address_of
from codelab.identity.backend import locked_for

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


class SignInForm(AuthenticationForm):
    """Django's form; it says for how long nobody may try, where that is the reason."""

    def get_invalid_login_error(self) -> ValidationError:
        """Return why nobody was signed in."""
        address = address_of(self.request) if self.request is not None else ""
        seconds = locked_for(self.cleaned_data.get("username") or "", address)
        if seconds:
            return ValidationError(f"Too many failed attempts. Try again in {seconds} seconds.", code="locked")
        return ValidationError("Wrong username or password.", code="invalid_login")


class SignIn(LoginView):
    """The form; whoever is signed in already sees as whom, and can sign out."""

    form_class = SignInForm
    template_name = "identity/login.html"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer, and let the page load and send nothing elsewhere."""
        response = super().dispatch(request, *args, **kwargs)
        response[CSP.HEADER_ENFORCE] = POLICY
        return response


class SignOut(LogoutView):
    """Ends the browser's session; sockets that hang on it follow within the minute."""
