"""The admin's site: its home shows what operators ask first, and its pages run no code but this server's."""

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.apps import SimpleAdminConfig
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.csp import CSP, build_policy

#: Users and models write much of what the admin shows. Pictures of sessions are in their page.
POLICY = build_policy(
    {
        "default-src": CSP.NONE,
        "script-src": CSP.SELF,
        "style-src": CSP.SELF,
        "connect-src": CSP.SELF,
        "img-src": [CSP.SELF, "data:"],
        "base-uri": CSP.NONE,
        "form-action": CSP.SELF,
        "frame-ancestors": CSP.NONE,
    }
)


class OperationsConfig(SimpleAdminConfig):
    """Django's admin, with the site below. `codelab.urls` loads its pages: workers serve none."""

    default_site = "codelab.admin_site.OperationsSite"


class OperationsSite(AdminSite):
    """All pages of the admin."""

    site_header = site_title = "CodeLab AI Service"
    index_title = "Operations"
    index_template = "admin/operations.html"

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Return the home."""
        # It registers its pages at this site.
        from sessions.admin.home import page

        return super().index(request, {**page.context(request), **(extra_context or {})})

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Return a view whose answers allow no code and no style from elsewhere."""
        inner = super().admin_view(view, cacheable)

        def with_policy(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            response = inner(request, *args, **kwargs)
            response.headers.setdefault(CSP.HEADER_ENFORCE, POLICY)
            return response

        return with_policy
