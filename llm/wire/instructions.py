"""Places the instructions of callers where every model reads them.

The Responses and the Messages API take several at the beginning, and further ones in the middle of a conversation.
Templates of many models know one, and only at the beginning. Moved there, the later ones would change the beginning of
the conversation, and no provider would find it in its cache again.
"""

from collections.abc import Iterable
from dataclasses import replace
from itertools import takewhile

from llm import catalog
from llm.types import ModelMessage
from llm.wire.cache_marks import takes_cache_marks

#: Around instructions that a user's message carries.
REMINDER = "<system-reminder>\n{}\n</system-reminder>"


def place_instructions(messages: Iterable[ModelMessage], model: str = "") -> list[ModelMessage]:
    """Return messages with one instruction at the beginning, and the later ones in messages of the user.

    OpenAI's models take any, and those with cache marks need the parts at the beginning one by one.
    """
    all_messages = list(messages)
    first = list(takewhile(lambda message: message.role == "system", all_messages))
    rest = all_messages[len(first) :]
    provider = catalog.provider_of(model)
    if provider is None or provider.name != "openai":
        rest = [_in_users_message(message) if message.role == "system" else message for message in rest]
    if len(first) > 1 and not takes_cache_marks(model):
        first = [replace(first[0], content="\n\n".join(message.content for message in first if message.content))]
    return first + rest


def _in_users_message(message: ModelMessage) -> ModelMessage:
    return replace(message, role="user", content=REMINDER.format(message.content))
