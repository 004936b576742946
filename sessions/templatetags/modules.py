"""The tag `{% preload_modules "sessions/chat.js" %}`: links to all modules that a script imports.

Without them a browser finds out about a module only when it has the module that imports it.
"""

import posixpath
import re
from functools import cache
from pathlib import Path

from django import template
from django.contrib.staticfiles import finders
from django.templatetags.static import static
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

register = template.Library()

_IMPORT = re.compile(r"""^(?:import|export)\b[^;]*?["'](\.[^"']+)["'];""", re.MULTILINE)


@register.simple_tag
def preload_modules(script: str) -> SafeString:
    """Return a link for each module that this static file imports, itself or through others."""
    return format_html_join(
        "\n  ", '<link rel="modulepreload" href="{}">', ((static(each),) for each in modules(script))
    )


@cache
def modules(script: str) -> list[str]:
    """Return the names of the static files that a script imports, itself or through others, without itself."""
    found = [script]
    for name in found:
        path = finders.find(name)
        if path is None:
            raise FileNotFoundError(f"the page imports {name}, which is no static file")
        for imported in _IMPORT.findall(Path(path).read_text(encoding="utf-8")):
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), imported))
            if target not in found:
                found.append(target)
    return found[1:]
