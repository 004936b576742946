"""Tags for the texts of pages: `{% load language %}{% t "Account" %}`, `{% t "Signed in as {name}" name=user %}`."""

from typing import Any

from django import template
from django.conf import settings
from django.template.context import Context
from django.utils.html import json_script
from django.utils.safestring import SafeString

from sessions.api.language import language_of, translate, translations

register = template.Library()


def _language(context: Context) -> str:
    # Django shows its page of an error of the server without a request.
    request = context.get("request")
    return language_of(request) if request else settings.LANGUAGE_CODE


@register.simple_tag(takes_context=True)
def t(context: Context, text: str, **values: Any) -> str:
    """Return the text in the language of the page's user."""
    return translate(text, _language(context), **values)


@register.simple_tag(takes_context=True)
def server_text(context: Context, text: str) -> str:
    """Return a text of the server, such as the title of an agent, in the language of the page's user."""
    translated = translations(_language(context)).get(f"sentence {text}", text)
    return str(translated)


@register.simple_tag(takes_context=True)
def language(context: Context) -> str:
    """Return the code of the page's language."""
    return _language(context)


@register.simple_tag(takes_context=True)
def translation_data(context: Context) -> SafeString | str:
    """Return all texts of the page's language as data for language.js, nothing for English."""
    texts = translations(_language(context))
    # Scripts read it while they load. A Content-Security-Policy does not concern data.
    return json_script(texts, "translations") if texts else ""
