"""The JSON of requests: what Python's own encoder writes, also of texts that are not Unicode."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from llm.wire.pieces import BodyPieces

#: With halves of surrogate pairs, NUL and control characters.
TEXTS = st.text(st.characters())
NAMES = TEXTS.filter(lambda name: name not in ("model", "messages"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(TEXTS, VALUES, max_size=4), max_size=3), st.dictionaries(NAMES, VALUES, min_size=1))
def test_pieces_are_the_json_of_pythons_own_encoder(messages: list[dict[str, Any]], parameters: dict[str, Any]) -> None:
    pieces = BodyPieces.of("fake", messages, parameters)
    body = json.loads(f"{pieces.head}{','.join(pieces.messages)}{pieces.tail}")
    # As text: NaN is not equal to itself, and the order of keys counts.
    assert json.dumps(body) == json.dumps({"model": "fake", "messages": messages} | parameters)


def test_half_a_surrogate_pair_is_passed_on_as_it_is() -> None:
    (message,) = BodyPieces.of("fake", [{"role": "user", "content": "\ud83d"}], {"stream": True}).messages
    assert message == '{"role":"user","content":"\ud83d"}'
