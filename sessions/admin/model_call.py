"""The ledger of model calls: model, tokens, duration and cost.

A row outlives its session. What a provider said of a failure, which may repeat what a user wrote, goes with it.
"""

import uuid

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path

from sessions.admin.display import (
    badge,
    block,
    column,
    escape_controls,
    format_duration,
    shorten,
    task_link,
    text_column,
)
from sessions.admin.filters import (
    CallAgentFilter,
    ClientAgentFilter,
    ClientSessionFilter,
    CreatedFilter,
    ErrorCodeFilter,
    ModelFilter,
    PeriodFilter,
)
from sessions.admin.pages import SearchableAdmin
from sessions.admin.story.prompt import prompt_page
from sessions.admin.story.replay import replay_page
from sessions.models import ModelCall


class ModelCallAdmin(SearchableAdmin):
    id_paths = ("pk", "session", "turn")
    list_display = (
        *("created", "the_model", "purpose", "the_agent", "state", "error_code", "conversation_of", "owner_of"),
        *("turn_of", "tokens", "dollars", "first_token", "call_duration"),
    )
    list_filter = (
        *("outcome", "purpose", CreatedFilter, ModelFilter, CallAgentFilter, ErrorCodeFilter, "has_tool_calls"),
        *(PeriodFilter, ClientSessionFilter, ClientAgentFilter),
    )
    list_select_related = ("owner", "session")
    sortable_by = ("created",)
    fields = (
        *(
            "id",
            "conversation_of",
            "owner_of",
            "turn_of",
            "the_task",
            "attempt",
            "step",
            "purpose",
            "the_agent",
            "the_model",
        ),
        *(
            "number",
            "state",
            "error_code",
            "the_detail",
            "has_tool_calls",
            "input_tokens",
            "cached_tokens",
            "output_tokens",
        ),
        *("reasoning_tokens", "estimated", "dollars", "own_key", "first_token", "call_duration", "started_at"),
        *("of_client_session", "of_client_agent", "created_at"),
    )

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Allow the filters that links from the home use."""
        return lookup in ("owner", "owner__isnull") or super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]

    the_model = text_column("model")
    the_agent = text_column("agent")
    of_client_session = text_column("client_session")
    of_client_agent = text_column("client_agent")
    the_task = column("Celery task", lambda call: task_link(call.task))
    the_detail = column("the provider's words", lambda call: block(escape_controls(call.detail)))

    @admin.display(description="owner")
    def owner_of(self, row: ModelCall) -> str:
        return shorten(row.owner.get_username()) if row.owner else "–"

    state = column("outcome", lambda call: badge(call.outcome))
    tokens = column("tokens in / out", lambda call: f"{call.input_tokens} / {call.output_tokens}")
    dollars = column("cost (US dollars)", lambda call: "–" if call.cost is None else f"{call.cost:f}")

    @admin.display(description="first token after")
    def first_token(self, call: ModelCall) -> str:
        after = call.first_token_after
        return "–" if after is None else format_duration(call.started_at, call.started_at + after)

    call_duration = column("duration", lambda call: format_duration(call.started_at, call.started_at + call.duration))

    def get_queryset(self, request: HttpRequest) -> QuerySet[ModelCall]:
        """Leave out the names of prompts, which no list shows."""
        calls: QuerySet[ModelCall] = super().get_queryset(request)
        return calls.defer("prompt")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.prompt)
        replay = self.admin_site.admin_view(self.replay)
        return [
            path("<uuid:call_id>/prompt/", view, name="agent_sessions_modelcall_prompt"),
            path("<uuid:call_id>/replay/", replay, name="agent_sessions_modelcall_replay"),
            *super().get_urls(),
        ]

    def replay(self, request: HttpRequest, call_id: uuid.UUID) -> HttpResponse:
        """Return the page of a prompt's replays with other models."""
        return replay_page(self.admin_site, request, call_id)

    def prompt(self, request: HttpRequest, call_id: uuid.UUID) -> HttpResponse:
        """Return the page of what the model was sent."""
        return prompt_page(self.admin_site, request, call_id)
