"""A Russian page says what the server says, in Russian: errors, and why calls wait and agents change."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.live.service import Service

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("by_hand")]

#: (code, sentence of the server, sentence of the page): facts are kept, also inside of clauses.
ERRORS = [
    ("model_unavailable", "The English sentence.", "Провайдер модели недоступен"),
    ("internal_error", "Something went wrong on the server. Give its operator this number: 01a2.", "этот номер: 01a2."),
    (
        "invalid_field",
        "Field `title` is not usable: String should have at most 200 characters.",
        "не больше 200 символов",
    ),
    (
        "budget_exhausted",
        "The budget for you has too little left for another model call until 2030-01-01 00:00 UTC. Wait until then, or "
        "ask the operator of this server to raise it.",
        "До 2030-01-01 00:00 UTC в бюджете на ваше имя",
    ),
    (
        "",
        "File modification requires user approval. Windows looks for programs in the workspace first, and commands may "
        "run these unasked.",
        "Изменение файла требует вашего одобрения. Windows сначала ищет",
    ),
    ("", "Sub-task 3 of the plan", "подзадача 3 плана"),
    ("a_later_code", "A sentence of a later server.", "A sentence of a later server."),
]


def test_the_servers_sentences_are_in_the_pages_language(context: BrowserContext, service: Service) -> None:
    context.add_cookies([{"name": "language", "value": "ru", "url": service.url}])
    page = context.new_page()
    page.goto(service.url)
    expect(page.locator("#connection")).to_have_text("Подключено")
    script = """async (errors) => {
      const { errorText } = await import("/static/sessions/language.js");
      return errors.map(([code, text]) => errorText(code, text));
    }"""
    for (code, text, russian), shown in zip(ERRORS, page.evaluate(script, ERRORS), strict=True):
        assert russian in shown, (code, text)

    # A turn that fails, a command that a person must approve, and a message that the server refuses.
    box = page.locator("#message")
    box.fill("/fail broken_tool_call")
    box.press("Enter")
    failure = page.locator(".card.error .body")
    expect(failure).to_have_text(
        "Модель прислала вызов инструмента, который нельзя прочесть. Ничего не выполнено. Отправьте сообщение ещё раз."
    )
    call = {"command": "sudo reboot"}
    box.fill(f"/call execute_command {json.dumps(call)}")
    box.press("Enter")
    expect(page.locator(".card.tool .reason")).to_have_text(
        "Эта команда всегда требует вашего одобрения: sudo запускает другую программу или скрипт."
    )
    page.get_by_role("button", name="Остановить", exact=True).click()
    box.fill("x" * 100_001)
    box.press("Enter")
    expect(page.get_by_text("не больше 100000 символов")).to_be_visible()
