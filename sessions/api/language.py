"""The languages of the pages for users: English, whose texts are the keys, and translations of it.

`sessions/static/sessions/language/<code>/` has a file for each area of the pages. The admin and all APIs are English.
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from django.http import HttpRequest
from django.utils.translation import get_language_from_request

FOLDER = Path(__file__).parents[1] / "static/sessions/language"


def language_of(request: HttpRequest) -> str:
    """Return the code of the language that the user has chosen, else of one that the browser accepts."""
    return get_language_from_request(request)


@cache
def translations(language: str) -> dict[str, str | list[str]]:
    """Return the texts of a language by their English ones, those that count with their forms. English has none."""
    texts: dict[str, str | list[str]] = {}
    for path in sorted((FOLDER / language).glob("*.json")):
        texts |= json.loads(path.read_text(encoding="utf-8"))
    return texts


def translate(text: str, language: str, **values: Any) -> str:
    """Return the text in a language, with the values for its {names}."""
    translated = str(translations(language).get(text, text))
    return re.sub(r"\{(\w+)\}", lambda name: str(values.get(name[1], name[0])), translated)
