"""Accuracy of the estimate, on texts with the largest count of three real tokenizers.

Counted once with OpenAI's cl100k and o200k (tiktoken) and Anthropic's published tokenizer.
"""

from __future__ import annotations

import time

import pytest

from agents.tokens import count_message, count_tools, estimate
from agents.tools import TOOLS, offer
from llm.types import ModelMessage, ModelToolCall
from tests.cpu import cpu_seconds

SAMPLES: dict[str, tuple[str, int]] = {
    "python": (
        "def fit(units, *, room, count):\n"
        "    total = sum(unit.tokens for unit in units)\n"
        "    gone: set[Unit] = set()\n"
        "    for unit in units[:-RECENT]:\n"
        "        if total <= room:\n"
        "            break\n"
        "        total -= replace(unit, [emptied(message) for message in unit.whole], count)\n"
        "    return [unit for unit in units if unit not in gone]\n",
        87,
    ),
    "javascript": (
        "export async function loadSession(id, { after = 0, signal } = {}) {\n"
        "  const response = await fetch(`/api/v1/sessions/${id}/events?after=${after}`, { signal });\n"
        "  if (!response.ok) throw new Error(`HTTP ${response.status}`);\n"
        "  return (await response.json()).events.map((event) => ({ ...event, seen: false }));\n"
        "}\n",
        92,
    ),
    "english": (
        (
            "The function reads the file of settings and checks each of its fields. If a valu"
            "e is missing, the program stops with a message that says what to do about it. "
        )
        * 3,
        103,
    ),
    "russian": (
        (
            "Добавлена функция, которая читает файл настроек и проверяет каждое поле. Если зн"
            "ачение отсутствует, программа завершает работу с понятным сообщением. "
        )
        * 3,
        190,
    ),
    "german": (
        (
            "Diese Funktion liest die Datei und gibt ihren Inhalt zurück. Wenn die Datei nich"
            "t existiert, wird eine Ausnahme ausgelöst. "
        )
        * 3,
        104,
    ),
    "chinese": (("这个函数读取文件并返回内容。如果文件不存在，则抛出异常。") * 5, 95),
    "japanese": (("この関数はファイルを読み込み、内容を返します。") * 5, 105),
    "arabic": (("هذه الدالة تقرأ الملف وتعيد محتواه. ") * 5, 155),
    "hindi": (("यह फ़ंक्शन फ़ाइल पढ़ता है और उसकी सामग्री लौटाता है। ") * 5, 301),
    "json": (
        ('{"id": 17, "name": "read_file", "arguments": {"path": "src/main.py", "start_line": 1}, "ok": true}, ') * 5,
        191,
    ),
    "log": (
        ("2026-11-24T10:15:00.123Z INFO worker-2 turn_completed session_id=01920000-7a3b duration_ms=1340\n") * 5,
        205,
    ),
    "table": (("1017,13.70,user17@example.com,2026-01-18\n") * 8, 168),
    "hex": (("5f0e1c9ab37d42e68f1b0c3d9e7a6542c8f19b30d7e54a6b8c2d1f3e5a7b9c0d\n") * 4, 224),
    "base64": (
        (
            "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/w38GIAXDIBKE0DHx"
            "gljNBAAO9TXL0Y4OHwAAAABJRU5ErkJggg==\n"
        )
        * 3,
        204,
    ),
    "minified": (("!function(e,t){module.exports=t()}(this,function(){var a=1,b=[];return{a:a,b:b}});") * 4, 148),
    "emoji": (("🙂🚀✅ done 🎉 ") * 10, 111),
}


def text_of(name: str) -> str:
    return SAMPLES[name][0]


@pytest.mark.parametrize("name", SAMPLES)
def test_the_estimate_is_between_80_and_150_percent_of_the_largest_real_count(name: str) -> None:
    text, largest = SAMPLES[name]
    assert 0.8 * largest <= estimate(text) <= 1.5 * largest


def test_nothing_costs_nothing_and_more_costs_more() -> None:
    assert estimate("") == 0
    assert estimate("a") == 1
    counts = [estimate("def f(x):\n    return x + 1\n" * times) for times in (1, 10, 100, 1000, 10_000)]
    assert counts == sorted(set(counts))


def test_a_long_text_is_estimated_by_samples_and_quickly() -> None:
    text = text_of("python") * 2000
    estimated = estimate(text)
    # About 10 ms; whole it would be more than half a second, and every other answer would wait.
    assert cpu_seconds(lambda: estimate(text)) < 0.2
    assert estimated == pytest.approx(estimate(text_of("python")) * 2000, rel=0.1)


@pytest.mark.parametrize("text", ["a", "A", "aA1", " ", "\0", "é", "/", "a/"])
def test_no_text_takes_long(text: str) -> None:
    started = time.process_time()
    estimate(text * 100_000)
    assert time.process_time() - started < 5


def test_calls_and_tools_count() -> None:
    call = ModelToolCall(id="c", name="read_file", arguments={"path": "src/main.py"})
    plain = ModelMessage(role="assistant", content="Let me look.")
    assert count_message(plain) < count_message(
        ModelMessage(role="assistant", content="Let me look.", tool_calls=(call,))
    )
    assert 1000 < count_tools(offer(TOOLS)) < 3000
    assert count_message(plain, len) == 4 + len("Let me look.")
