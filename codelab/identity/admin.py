"""The admin of credentials: lists and revokes them. It cannot show a secret, because none is stored.

It also creates API keys; the page after that is the only place that shows the key.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.cache import add_never_cache_headers

from codelab.identity import api_keys, token_families
from codelab.identity.address import address_of
from codelab.identity.models import ApiKey, AuditEntry, Client, Scope, SigningKey, TokenFamily, join_scopes
from sessions.admin.display import text_column
from sessions.admin.filters import CreatedFilter
from sessions.admin.operators import ActingAdmin
from sessions.admin.pages import ReadOnlyAdmin

if TYPE_CHECKING:
    Form = forms.ModelForm[ApiKey]
else:
    Form = forms.ModelForm


class ApiKeyForm(Form):
    scopes = forms.MultipleChoiceField(
        choices=Scope.choices, initial=[Scope.READ, Scope.WRITE], widget=forms.CheckboxSelectMultiple
    )

    class Meta:
        model = ApiKey
        fields = ("user", "name", "scopes", "expires_at")

    def clean_scopes(self) -> str:
        return join_scopes(set(self.cleaned_data["scopes"]))


def revoke_all(
    page: ActingAdmin, request: HttpRequest, rows: QuerySet[Any], end: Callable[[Any], None]
) -> HttpResponse | None:
    """Revoke credentials, and record who did so and why."""
    response = page.act(request, rows, "Revoked", end)
    messages.success(request, "Sockets opened with them close within a minute.")
    return response


@admin.register(ApiKey)
class ApiKeyAdmin(ActingAdmin, ReadOnlyAdmin):
    form = ApiKeyForm
    list_display = ("the_name", "user", "prefix", "scopes", "created", "last_used_at", "expires_at", "revoked_at")
    list_select_related = ("user",)
    list_filter = (CreatedFilter,)
    search_fields = ("user__username", "prefix")
    fields = ("user", "the_name", "prefix", "scopes", "created_at", "last_used_at", "expires_at", "revoked_at")
    actions = ("revoke",)
    raw_id_fields = ("user",)
    the_name = text_column("name")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the operator may create keys, for any user."""
        return bool(request.user.has_perm("identity.add_apikey"))

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("identity.change_apikey"))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields that can be set for a new key, all fields of an existing one."""
        return self.fields if obj else ("user", "name", "scopes", "expires_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return super().get_readonly_fields(request, obj) if obj else []

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        """Store a new key. Its secret lives only as long as this request."""
        request.api_key_secret = api_keys.assign_secret(obj)  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)
        api_keys.record_creation(obj, address_of(request))

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """Show the key once, on a page that is not cached."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "New API key, shown only once",
            "key": obj,
            "secret": request.api_key_secret,  # type: ignore[attr-defined]
        }
        response = TemplateResponse(request, "admin/identity/apikey/made.html", context)
        add_never_cache_headers(response)
        return response

    @admin.action(description="Revoke the selected keys", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> Any:
        def end(key: ApiKey) -> None:
            api_keys.revoke(key.user_id, key.pk, address=address_of(request))

        return revoke_all(self, request, queryset, end)


@admin.register(TokenFamily)
class TokenFamilyAdmin(ActingAdmin, ReadOnlyAdmin):
    list_display = ("created", "user", "client", "scopes", "address", "refreshed_at", "expires_at", "revoked_at")
    list_select_related = ("user", "client")
    list_filter = (CreatedFilter,)
    search_fields = ("user__username",)
    fields = ("id", "user", "client", "scopes", "address", "created_at", "refreshed_at", "expires_at", "revoked_at")
    actions = ("revoke",)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("identity.change_tokenfamily"))

    @admin.action(description="Revoke the selected sign-ins", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[TokenFamily]) -> Any:
        def end(family: TokenFamily) -> None:
            token_families.revoke(family, address=address_of(request))

        return revoke_all(self, request, queryset.select_related("client"), end)


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("created", "kind", "user", "the_client", "address", "detail")
    list_select_related = ("user",)
    list_filter = ("kind", CreatedFilter)
    search_fields = ("user__username", "address")
    fields = ("id", "created_at", "kind", "user", "the_client", "address", "detail")
    the_client = text_column("client_id")


@admin.register(Client)
class ClientAdmin(ReadOnlyAdmin):
    ordering = ("client_id",)
    list_display = ("client_id", "name", "is_public", "scopes", "user", "is_active", "created_at")
    list_select_related = ("user",)
    fields = ("client_id", "name", "is_public", "scopes", "user", "is_active", "created_at")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the operator may delete clients; their sign-ins go with them."""
        return bool(request.user.has_perm("identity.delete_client"))

    @admin.display(description="public", boolean=True)
    def is_public(self, client: Client) -> bool:
        return not client.secret_hash


@admin.register(SigningKey)
class SigningKeyAdmin(ReadOnlyAdmin):
    ordering = ("-created_at",)
    list_display = ("kid", "is_current", "created_at", "retired_at")
    fields = ("kid", "is_current", "created_at", "retired_at")

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Return the key without its private half, which no page needs."""
        return SigningKey.objects.defer("private_pem").filter(pk=object_id).first()
