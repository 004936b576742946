"""Texts of ended turns stand in the message alone; their events say which part of it they had.

`from_message` in a payload takes the place of what the message has too: of a piece, the offset and the length of its
text, in characters; of an announcement, the names of the fields. Only compaction writes it, and only after it has
compared both texts. No reader sees it: each reads `PAYLOAD`.

`key_order` in a payload has the order of the keys in arguments of calls. `encode` adds it, and `decode` removes it.
"""

import json
from typing import Any

from llm import key_order

#: The fields of payloads that hold what models wrote.
ORDERED = ("arguments", "tool_calls")


def encode(payload: dict[str, Any]) -> str:
    """Return a payload as it is stored."""
    ordered = {name: payload[name] for name in ORDERED if name in payload}
    order = key_order.outline(ordered) if ordered else None
    return json.dumps({**payload, "key_order": json.dumps(order)} if order else payload)


def decode(payload: dict[str, Any]) -> dict[str, Any]:
    """Return the payload of an event that was read, with the keys in their order."""
    if order := payload.pop("key_order", None):
        for name, like in json.loads(order).items():
            payload[name] = key_order.arrange(payload.get(name), like)
    return payload


#: The payload of a row of `agent_sessions_event`, as it was written. A row without its message, which is being deleted,
#: has no text.
PAYLOAD = """
    CASE
    WHEN NOT agent_sessions_event.payload ? 'from_message' THEN agent_sessions_event.payload
    WHEN agent_sessions_event.kind = 'message_added' THEN
        agent_sessions_event.payload - 'from_message' || coalesce((
            SELECT jsonb_object_agg(name, CASE name
                WHEN 'content' THEN to_jsonb(message.content)
                WHEN 'reasoning' THEN to_jsonb(message.reasoning)
                ELSE message.tool_calls
            END)
            FROM agent_sessions_message AS message,
                jsonb_array_elements_text(agent_sessions_event.payload->'from_message') AS name
            WHERE message.session_id = agent_sessions_event.session_id AND message.number = agent_sessions_event.number
        ), '{}'::jsonb)
    ELSE
        agent_sessions_event.payload - 'from_message' || jsonb_build_object('text', coalesce((
            SELECT substr(
                CASE agent_sessions_event.kind
                    WHEN 'text_delta' THEN message.content
                    ELSE message.reasoning
                END,
                (agent_sessions_event.payload->'from_message'->>0)::integer + 1,
                (agent_sessions_event.payload->'from_message'->>1)::integer
            )
            FROM agent_sessions_message AS message
            WHERE message.id = (agent_sessions_event.payload->>'message_id')::uuid
        ), ''))
    END
"""

#: Characters from which on a text is worth a reference.
MIN_LENGTH = 64

#: Bytes of a message up to which its pieces refer to it: PostgreSQL unpacks the whole message for each of them.
MAX_BYTES = 256 * 1024

#: Replaces the texts of a turn's announcements. Texts of a message that was edited while it waited differ, and stay.
REPLACE_ANNOUNCED = f"""
    WITH announced AS (
        SELECT event.id, array_remove(ARRAY[
            CASE WHEN event.payload->>'content' = message.content AND message.content <> '' THEN 'content' END,
            CASE WHEN event.payload->>'reasoning' = message.reasoning AND message.reasoning <> '' THEN 'reasoning' END,
            CASE WHEN (event.payload->'tool_calls')::text = message.tool_calls::text THEN 'tool_calls' END
        ], NULL) AS names
        FROM agent_sessions_message AS message JOIN agent_sessions_event AS event
            ON event.session_id = message.session_id AND event.number = message.number
        WHERE message.turn_id = %s AND message.number > %s AND message.number <= %s
            AND event.kind = 'message_added' AND NOT event.payload ? 'from_message'
            AND char_length(message.content) + char_length(message.reasoning) + char_length(message.tool_calls::text)
                >= {MIN_LENGTH}
    )
    UPDATE agent_sessions_event AS event
    SET payload = event.payload - announced.names || jsonb_build_object('from_message', to_jsonb(announced.names))
    FROM announced WHERE event.id = announced.id AND cardinality(announced.names) > 0
"""
