"""What a story says of a model call."""

from decimal import Decimal

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sessions.admin.display import escape_controls, format_timedelta, link, show_time
from sessions.admin.story.entry import Entry, cut
from sessions.billing.prompts import count_messages
from sessions.models import ModelCall, ModelCallPurpose

PURPOSES: dict[str, str] = {
    ModelCallPurpose.STEP: "answers",
    ModelCallPurpose.ROUTING: "chooses the agent",
    ModelCallPurpose.SUMMARY: "summarizes",
    ModelCallPurpose.TITLE: "names the session",
    ModelCallPurpose.REPLAY: "replays",
}


def model_call_entry(call: ModelCall) -> Entry:
    """Return the entry of a call."""
    return Entry(
        f"{escape_controls(call.model)} {PURPOSES.get(call.purpose, call.purpose)}",
        time=show_time(call.started_at),
        role="model",
        state=call.outcome,
        facts=model_call_facts(call),
        texts=[cut("The provider's words", call.detail, is_code=True)] if call.detail else [],
        links=[link(call, "Model call"), *([prompt_link(call)] if call.prompt else [])],
    )


def model_call_facts(call: ModelCall) -> list[tuple[str, object]]:
    """Return the facts of a model call."""
    tokens = f"{call.input_tokens} in ({call.cached_tokens} cached), {call.output_tokens} out"
    facts: list[tuple[str, object]] = [
        ("Agent", escape_controls(call.agent)),
        ("Tokens", f"{tokens}, estimated" if call.estimated else tokens),
        ("Cost", "the user's own key" if call.own_key else dollars(call.cost)),
        ("First token after", format_timedelta(call.first_token_after)),
        ("Duration", format_timedelta(call.duration)),
    ]
    if call.number > 1:
        facts.append(("Try", call.number))
    if call.error_code:
        facts.append(("Error", call.error_code))
    return facts


def dollars(cost: Decimal | None) -> str:
    """Return an amount of money."""
    return "unknown" if cost is None else f"${cost.normalize():f}"


def prompt_link(call: ModelCall) -> SafeString:
    """Return a link to what a model was sent."""
    url = reverse("admin:agent_sessions_modelcall_prompt", args=[call.pk])
    count = count_messages(call.prompt)
    return format_html('<a href="{}">Exact prompt, {} message{}</a>', url, count, "" if count == 1 else "s")
