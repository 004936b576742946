"""What one line of a story consists of."""

from dataclasses import dataclass, field, replace
from typing import Any

from django.utils.safestring import SafeString

from sessions.admin.display import escape_controls, pretty_arguments
from sessions.admin.story.rows import MAX_TEXT_CHARACTERS

type Facts = list[tuple[str, object]]


@dataclass(frozen=True, slots=True)
class Text:
    """A text under a heading."""

    label: str
    text: str
    hidden_characters: int = 0
    #: Whether its spaces and line ends are shown as they are, in letters of one width.
    is_code: bool = False
    #: Whether it is shown at once.
    is_open: bool = True


@dataclass(slots=True)
class Entry:
    """One line of a story, with what can be opened."""

    title: str
    #: None: a model call, which is no event.
    number: int | None = None
    time: SafeString | str = ""
    role: str = ""
    state: str = ""
    facts: Facts = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    links: list[SafeString] = field(default_factory=list)


def cut(label: str, text: str, length: int | None = None, *, layout: Any = escape_controls, **options: Any) -> Text:
    """Return a text of which the story shows the beginning; `length` is that of all of it."""
    hidden = max(0, (len(text) if length is None else length) - MAX_TEXT_CHARACTERS)
    shown = text[:MAX_TEXT_CHARACTERS]
    return Text(label, escape_controls(shown) if hidden else layout(shown), hidden, **options)


def cut_arguments(label: str, arguments: Any) -> Text:
    """Return the beginning of the arguments of a call. Long texts in them are cut before they are laid out."""
    hidden = 0

    def beginning(value: Any) -> Any:
        nonlocal hidden
        if isinstance(value, str):
            hidden += max(0, len(value) - MAX_TEXT_CHARACTERS)
            return value[:MAX_TEXT_CHARACTERS]
        if isinstance(value, dict):
            return {name: beginning(each) for name, each in value.items()}
        return [beginning(each) for each in value] if isinstance(value, list) else value

    short = beginning(arguments)
    text = pretty_arguments(short) if isinstance(short, dict) else escape_controls(short)
    shown = cut(label, text, layout=str, is_code=True)
    return replace(shown, hidden_characters=shown.hidden_characters + hidden)
