"""The exact prompt of a model call, compared with the hashes of what was sent. For staff with its own permission."""

import json
import uuid
from dataclasses import dataclass, field
from typing import Any

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.utils.cache import add_never_cache_headers

from llm import catalog
from sessions.admin.display import conversation_link, escape_controls, link, pretty
from sessions.admin.story.entry import Facts, Text, cut
from sessions.admin.story.model_calls import model_call_facts
from sessions.billing import prompts
from sessions.billing.prompts import SentPrompt
from sessions.models import Completion, Image, Message, ModelCall

VIEW_PROMPTS = "agent_sessions.view_prompts"


@dataclass(slots=True)
class PromptMessage:
    """A message of a prompt, as a page shows it."""

    role: str
    #: The call before in the turn was not sent it.
    is_new: bool
    texts: list[Text] = field(default_factory=list)
    images: list[Any] = field(default_factory=list)


def require_prompts(site: AdminSite, request: HttpRequest) -> None:
    """Raise PermissionDenied unless the user may see what models were sent."""
    if not (site.get_model_admin(ModelCall).has_view_permission(request) and request.user.has_perm(VIEW_PROMPTS)):
        raise PermissionDenied


def prompt_page(site: AdminSite, request: HttpRequest, call_id: uuid.UUID) -> HttpResponse:
    """Return the page of a call's prompt, or with `raw` its text as it was sent."""
    require_prompts(site, request)
    call = get_object_or_404(ModelCall.objects.select_related("session", "turn"), pk=call_id)
    sent = prompts.read(call)
    if "raw" in request.GET:
        return _raw(call, sent)
    answer = Message.objects.filter(pk=call.answer).first() if call.answer else None
    context = {
        **site.each_context(request),
        "opts": ModelCall._meta,
        "title": "Exact prompt",
        "call": call,
        "session_link": conversation_link(call.session) if call.session else "",
        "turn_link": link(call.turn, "Turn") if call.turn else "",
        "facts": facts_of(call),
        "sent": sent,
        "is_translated": not (catalog.provider_of(call.model) or catalog.is_scripted(call.model)),
        "prompt_messages": shown_messages(sent, _digests_before(call)) if sent else [],
        "parameters": _parameters(sent) if sent else [],
        "completion": _completion_of(call),
        "answer": answer_texts(answer) if answer else [],
    }
    response = TemplateResponse(request, "admin/agent_sessions/modelcall/prompt.html", context)
    add_never_cache_headers(response)
    return response


def facts_of(call: ModelCall) -> Facts:
    """Return the facts of a call for its own pages."""
    return [("Model", escape_controls(call.model)), ("Purpose", call.purpose), *model_call_facts(call)]


def _raw(call: ModelCall, sent: SentPrompt | None) -> HttpResponse:
    if sent is None or not sent.is_proven:
        raise Http404
    response = HttpResponse(sent.body.join(), content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="prompt-{call.pk}.json"'
    add_never_cache_headers(response)
    return response


def _digests_before(call: ModelCall) -> frozenset[bytes]:
    """Return the pieces of the prompt of the turn's call before."""
    earlier = (
        ModelCall.objects.filter(turn=call.turn_id, purpose=call.purpose, pk__lt=call.pk) if call.turn_id else None
    )
    before = earlier.order_by("-pk").first() if earlier is not None else None
    sent = prompts.read(before) if before else None
    return frozenset(sent.digests) if sent else frozenset()


def shown_messages(sent: SentPrompt, before: frozenset[bytes]) -> list[PromptMessage]:
    """Return the messages of a prompt for people. The raw text is what was sent."""
    shown: list[PromptMessage] = []
    for digest, text in zip(sent.digests, sent.messages, strict=True):
        is_new = bool(before) and digest not in before
        if not text:
            shown.append(PromptMessage("missing", is_new))
            continue
        message = json.loads(prompts.name_images(text))
        images = [link(Image(pk=name), "image") for name in prompts.image_ids(text)]
        shown.append(PromptMessage(str(message.pop("role", "")), is_new, _texts(message), images))
    return shown


def _texts(message: dict[str, Any]) -> list[Text]:
    content = message.pop("content", None)
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}] if content else []
    texts = [
        cut("", str(part["text"])) if part.get("type") == "text" else cut("", pretty(part), layout=str, is_code=True)
        for part in parts
    ]
    if message:
        texts.append(cut("Other fields", pretty(message), layout=str, is_code=True))
    return texts


def _parameters(sent: SentPrompt) -> list[Text]:
    """Return tools and parameters."""
    try:
        parameters = json.loads(f"{sent.body.head}{sent.body.tail}")
    except ValueError:
        return []
    parameters.pop("messages", None)
    tools = parameters.pop("tools", [])
    texts = [cut("Parameters", pretty(parameters), layout=str, is_code=True)]
    if tools:
        texts.append(cut(f"{len(tools)} tools", pretty(tools), layout=str, is_code=True, is_open=False))
    return texts


def _completion_of(call: ModelCall) -> Any:
    """Return a link to the request of the OpenAI-compatible API that is the prompt of its model."""
    completion = Completion.objects.filter(turn=call.turn_id).only("pk").first() if call.turn_id else None
    return link(completion, "The caller's request") if completion else None


def answer_texts(answer: Message) -> list[Text]:
    """Return the texts of an answer."""
    texts = [cut("Reasoning", answer.reasoning, is_open=False)] if answer.reasoning else []
    if answer.content:
        texts.append(cut("", answer.content))
    if answer.tool_calls:
        texts.append(cut("Tool calls", pretty(answer.tool_calls), layout=str, is_code=True))
    return texts
