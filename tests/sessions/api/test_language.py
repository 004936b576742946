"""The pages for users are complete in each language: every text has its translation, and every translation its text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from django.test import Client

from codelab.environment import PROJECT
from sessions.api.language import FOLDER, translate, translations

SCRIPTS = FOLDER.parent
TEMPLATES = [
    *PROJECT.glob("sessions/templates/sessions/**/*.html"),
    *PROJECT.glob("codelab/identity/templates/identity/**/*.html"),
    *PROJECT.glob("*/templates/*.html"),
]
LANGUAGES = sorted(folder.name for folder in FOLDER.iterdir() if folder.is_dir())
TEXT = r'"((?:[^"\\\n]|\\.)*)"'
IN_SCRIPT = re.compile(rf"(?<![\w.])t\(\s*{TEXT}")
COUNTED = re.compile(rf"(?<![\w.])tn\(\s*[^\"]+?,\s*{TEXT},\s*{TEXT}", re.DOTALL)
CALL = re.compile(r"(?<![\w.])tn?\(")
IN_TEMPLATE = re.compile(rf"{{% t {TEXT}")
IN_MODULE = re.compile(rf"\btranslate\({TEXT}")
MODULES = list(PROJECT.glob("codelab/identity/*.py"))
#: What stands in templates as it is, in each language.
NAMES = {"CodeLab", "CodeLab AI Service", "AI Service", "utf-8", "https://host/v1"}


def scripts() -> list[Path]:
    return [path for path in SCRIPTS.rglob("*.js") if path.name != "language.js"]


def code_of(script: Path) -> str:
    """Return a script without its comments."""
    return re.sub(r"/\*.*?\*/|(?m:^\s*//[^\n]*$)", "", script.read_text(), flags=re.DOTALL)


def unescape(text: str) -> str:
    return str(json.loads(f'"{text}"'))


def plain_texts() -> dict[str, str]:
    """Return the texts without a count, each with its file."""
    found = [(script, unescape(text)) for script in scripts() for text in IN_SCRIPT.findall(code_of(script))]
    found += [(page, text) for page in TEMPLATES for text in IN_TEMPLATE.findall(page.read_text())]
    found += [(module, text) for module in MODULES for text in IN_MODULE.findall(module.read_text())]
    return {text: path.name for path, text in found}


def counted_texts() -> dict[str, str]:
    """Return the texts with a count by their plural, each with its file."""
    return {unescape(many): script.name for script in scripts() for _, many in COUNTED.findall(code_of(script))}


def names_in(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


def test_texts_are_literals() -> None:
    for script in scripts():
        code = code_of(script)
        literals = len(IN_SCRIPT.findall(code)) + len(COUNTED.findall(code))
        assert literals == len(CALL.findall(code)), f"{script.name}: t() and tn() take literals in double quotes only"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_is_complete(language: str) -> None:
    texts = translations(language)
    plain, counted = plain_texts(), counted_texts()

    missing = {text: file for text, file in (plain | counted).items() if text not in texts}
    assert not missing, f"texts without a line in sessions/static/sessions/language/{language}/: {missing}"
    assert [text for text in plain if not isinstance(texts[text], str)] == [], "these have forms, but no count"
    assert [text for text in counted if not isinstance(texts[text], list)] == [], "these need a list of forms"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_no_stale_or_odd_lines(language: str) -> None:
    used = plain_texts() | counted_texts()
    texts_before: dict[str, object] = {}
    for path in sorted((FOLDER / language).glob("*.json")):
        texts = json.loads(path.read_text(), object_pairs_hook=lambda pairs: pairs)
        for text, translated in texts:
            # What the server says is compared with the server (test_server_sentences.py).
            is_of_server = path.name == "server.json"
            assert is_of_server or text in used, f"{path.name}: the pages have no text {text!r}"
            # Each area has its own lines, but they agree.
            assert texts_before.setdefault(text, translated) == translated, (
                f"{path.name}: another file differs: {text!r}"
            )
            forms = [translated] if isinstance(translated, str) else translated
            assert isinstance(translated, str) or len(forms) == 3, f"{path.name}: {text!r} needs three forms"
            for form in forms:
                # A fact of a server's sentence may be left out.
                is_right = names_in(form) == names_in(text) or (is_of_server and names_in(form) < names_in(text))
                assert is_right, f"{path.name}: other {{names}} in {form!r}"


def test_templates_have_no_text_outside_of_tags() -> None:
    for page in TEMPLATES:
        html = re.sub(r"{%.*?%}|{{.*?}}|<!--.*?-->", "", page.read_text(), flags=re.DOTALL)
        spoken = re.findall(r'(?:title|aria-label|placeholder|alt)="([^"]*)"', html)
        texts = [text.strip(" ·\n\t") for text in [*re.sub(r"<[^>]*>", "\n", html).split("\n"), *spoken]]
        # Commands of the scripted model begin with a slash.
        assert {text for text in texts if re.match(r"[^/]*[a-zA-Z]", text)} <= NAMES, page


def test_values_are_put_in_once() -> None:
    assert translate("You are signed in as {name}.", "en", name="{name}") == "You are signed in as {name}."
    assert translate("You are signed in as {name}.", "ru", name="Боб") == "Вы вошли как Боб."


@pytest.mark.parametrize(
    ("cookie", "accepted", "language"),
    [
        ("", "", "en"),
        ("", "ru-RU,ru;q=0.9,en;q=0.8", "ru"),
        ("", "de-DE,de;q=0.9", "en"),
        ("", "en-GB,ru;q=0.5", "en"),
        ("en", "ru", "en"),
        ("ru", "en", "ru"),
        ("xx<script>", "ru", "ru"),
    ],
)
def test_the_cookie_or_the_browser_chooses_the_language(
    client: Client, cookie: str, accepted: str, language: str
) -> None:
    if cookie:
        client.cookies["language"] = cookie
    response = client.get("/login", headers={"Accept-Language": accepted})

    html = response.content.decode()
    assert f'<html lang="{language}"' in html
    assert ("Пароль" in html) == (language == "ru")
    assert {"Accept-Language", "Cookie"} <= set(response["Vary"].split(", "))


@pytest.mark.django_db
def test_the_page_has_all_translations_as_data(client: Client) -> None:
    client.cookies["language"] = "ru"
    html = client.get("/").content.decode()

    (data,) = re.findall(r'<script id="translations" type="application/json">(.*?)</script>', html)
    assert json.loads(data) == translations("ru")
    assert "translations" not in Client().get("/").content.decode()


@pytest.mark.parametrize(("cookie", "theme"), [("dark", "dark"), ("light", "light"), ("", "system"), ('"x', "system")])
def test_the_cookie_chooses_the_colours(client: Client, cookie: str, theme: str) -> None:
    client.cookies["theme"] = cookie
    assert f'data-theme="{theme}"' in client.get("/login").content.decode()
