"""The tag for the colours of pages for users: `<html data-theme="{% theme %}">`."""

from django import template
from django.template.context import Context

register = template.Library()

#: The browser's own choice, and what the page for the account stores in the cookie.
THEMES = ("system", "light", "dark")
COOKIE_NAME = "theme"


@register.simple_tag(takes_context=True)
def theme(context: Context) -> str:
    """Return the colours that the user has chosen in this browser."""
    request = context.get("request")
    chosen = request.COOKIES.get(COOKIE_NAME, "") if request else ""
    return chosen if chosen in THEMES else THEMES[0]
