"""The service's URLs: the original's beside the new ones (docs/protocol.md)."""

from django.conf import settings
from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView
from django.views.i18n import set_language

from codelab.health import Health, Ready, live
from codelab.identity import oauth, well_known
from codelab.identity.pages import SignIn, SignOut, account
from codelab.metrics import metrics
from codelab.openai_api import openai_api
from codelab.rest_api import api, plugin_api
from sessions.api.views import chat

# Here, because only web processes have pages: in a worker the admin took 4 MiB.
admin.autodiscover()

handler400 = "codelab.path_errors.bad_request"
handler404 = "codelab.path_errors.not_found"
handler500 = "codelab.path_errors.server_error"

urlpatterns = [
    path("", chat, name="chat"),
    path(".well-known/jwks.json", well_known.jwks, name="jwks"),
    path(".well-known/oauth-authorization-server", well_known.authorization_server),
    path("account", account, name="account"),
    path("admin/", admin.site.urls),
    path("api/v1/health", Health.as_view()),
    path("api/v1/", api.urls),
    path("favicon.ico", RedirectView.as_view(url=f"{settings.STATIC_URL}sessions/icon.svg")),
    path("health", Health.as_view(), name="health"),
    path("language", set_language, name="language"),
    path("live", live, name="live"),
    path("login", SignIn.as_view(), name="login"),
    path("logout", SignOut.as_view(), name="logout"),
    path("metrics", metrics, name="metrics"),
    path("my/", plugin_api.urls),
    path("oauth/revoke", oauth.revoke, name="revoke"),
    path("oauth/token", oauth.token, name="token"),
    path("ready", Ready.as_view(), name="ready"),
    path("v1/", openai_api.urls),
]
