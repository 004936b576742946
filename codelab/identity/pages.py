"""The pages for signing in and out, for users of the chat page. The admin has its own pages, for staff."""

from typing import Any

from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.csp import CSP, build_policy

from codelab.identity.address import address_of
from codelab.identity.backend import lockout_seconds

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
    """Django's form; its error says for how long sign-in is blocked."""

    def get_invalid_login_error(self) -> ValidationError:
        """Return why the sign-in failed."""
        address = address_of(self.request) if self.request is not None else ""
        seconds = lockout_seconds(self.cleaned_data.get("username") or "", address)
        if seconds:
            return ValidationError(f"Too many failed attempts. Try again in {seconds} seconds.", code="locked")
        return ValidationError("Wrong username or password.", code="invalid_login")


class SignIn(LoginView):
    """The sign-in form; a user who is signed in can sign out here."""

    form_class = SignInForm
    template_name = "identity/login.html"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Add a policy with which the page loads and sends nothing elsewhere."""
        response = super().dispatch(request, *args, **kwargs)
        response[CSP.HEADER_ENFORCE] = POLICY
        patch_vary_headers(response, ["Accept-Language"])
        return response


class SignOut(LogoutView):
    """Ends the browser's session; its sockets close within a minute."""
