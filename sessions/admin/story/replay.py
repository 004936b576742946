"""Replays a step's prompt with another model: its cost is shown before, and the answers side by side after it."""

import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, cast

from django.conf import settings
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.utils.cache import add_never_cache_headers

from llm import catalog, scripted
from sessions import broker
from sessions.admin.display import escape_controls, pretty, show_time
from sessions.admin.story.entry import Facts, Text, cut
from sessions.admin.story.model_calls import dollars, model_call_facts
from sessions.admin.story.prompt import answer_texts, require_prompts
from sessions.billing import prompts
from sessions.billing.prompts import SentPrompt
from sessions.models import Message, ModelCall, Replay, Worker
from sessions.turns import replays

REPLAY_PROMPTS = "agent_sessions.replay_prompts"


@dataclass(slots=True)
class Column:
    """An answer beside others."""

    title: str
    state: str
    facts: Facts
    texts: list[Text] = field(default_factory=list)
    time: Any = ""


@dataclass(slots=True)
class Choice:
    """A model that may get the prompt, with what it costs."""

    model: str
    about: str
    at_most: str
    max_cost: Decimal | None


def replay_page(site: AdminSite, request: HttpRequest, call_id: uuid.UUID) -> HttpResponse:
    """Return the page of a call's replays, or begin one."""
    require_prompts(site, request)
    if not request.user.has_perm(REPLAY_PROMPTS):
        raise PermissionDenied
    call = get_object_or_404(ModelCall.objects.select_related("session", "turn"), pk=call_id)
    sent = prompts.read(call)
    sent = sent if sent and sent.is_proven else None
    choices = _choices(sent, call) if sent else []
    if request.method == "POST":
        return _begin(site, request, call, choices)
    answer = Message.objects.filter(pk=call.answer).first() if call.answer else None
    context = {
        **site.each_context(request),
        "opts": ModelCall._meta,
        "title": "Replay with another model",
        "call": call,
        "choices": choices,
        "columns": [_original(call, answer), *map(_column, replays.replays_of(call))],
    }
    response = TemplateResponse(request, "admin/agent_sessions/modelcall/replay.html", context)
    add_never_cache_headers(response)
    return response


def _choices(sent: SentPrompt, call: ModelCall) -> list[Choice]:
    """Return the models that a worker has a key for, the server's own first."""
    providers = {name for names in Worker.alive().values_list("providers", flat=True) for name in names or ()}
    names = [model.name for model in catalog.all_models() if model.name.partition("/")[0] in providers]
    known = dict.fromkeys((settings.CODELAB_MODEL, *names, scripted.NAME))
    choices = []
    for name in known:
        if "embeddings" not in catalog.find(name).capabilities:
            about, at_most = replays.estimate(sent, call, name)
            choices.append(Choice(name, dollars(about), dollars(at_most), at_most))
    return choices


def _begin(site: AdminSite, request: HttpRequest, call: ModelCall, choices: list[Choice]) -> HttpResponse:
    choice = next((each for each in choices if each.model == request.POST.get("model")), None)
    if choice is None:
        messages.error(request, "Choose one of the models. The prompt must be complete.")
        return HttpResponseRedirect(request.path)
    by = cast(AbstractBaseUser, request.user).pk
    with transaction.atomic():
        # A second click waits here for the first.
        ModelCall.objects.select_for_update(of=("self",)).only("pk").get(pk=call.pk)
        if replays.is_under_way(call, choice.model):
            messages.warning(request, f"The prompt is on its way to {choice.model} already. Load the page again.")
            return HttpResponseRedirect(request.path)
        replay = replays.order(call, choice.model, by=by, max_cost=choice.max_cost)
        words = f"Replayed the prompt with {choice.model}, for {choice.at_most} at most (replay {replay.pk})."
        site.get_model_admin(ModelCall).log_change(request, call, words)
    broker.send_replay(replay.pk)
    messages.success(request, f"The prompt is sent to {choice.model}. Load the page again to see the answer.")
    return HttpResponseRedirect(request.path)


def _original(call: ModelCall, answer: Message | None) -> Column:
    title = f"{escape_controls(call.model)}, as it was"
    return Column(title, call.outcome, model_call_facts(call), answer_texts(answer) if answer else [])


def _column(replay: Replay) -> Column:
    by = escape_controls(replay.requested_by.get_username()) if replay.requested_by else "–"
    facts: Facts = [("By", by), ("Shown before", f"at most {dollars(replay.max_cost)}")]
    facts += model_call_facts(replay.result) if replay.result else []
    texts = [cut("", replay.answer)] if replay.answer else []
    if replay.tool_calls:
        texts.append(cut("Tool calls, which were not run", pretty(replay.tool_calls), layout=str, is_code=True))
    if replay.error:
        texts.append(cut("Why it failed", replay.error, is_code=True))
    return Column(escape_controls(replay.model), replay.status, facts, texts, show_time(replay.created_at))
