"""Renders the Markdown of answers as trees, for pages that have no parser of their own."""

from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from ninja import Field, Router, Schema

from sessions.api.http import ERRORS, owner, require_clean
from sessions.api.markdown import renderer

router = Router(tags=["markdown"])

MAX_TEXTS = 50
#: Longer answers stay plain text.
MAX_TEXT_CHARACTERS = 200_000


class MarkdownIn(Schema):
    """Texts to render. A text is open while it grows: only its finished blocks are returned."""

    texts: list[Annotated[str, Field(max_length=MAX_TEXT_CHARACTERS)]] = Field(min_length=1, max_length=MAX_TEXTS)
    open: bool = False


class MarkdownDocument(Schema):
    """The blocks of a text, and how much of it they are, in UTF-16 units.

    A node is a text, or a list of a name, attributes and children. Children of `pre` may be pairs of a kind and a text.
    """

    blocks: list[Any]
    length: int


class MarkdownOut(Schema):
    """A document for each text; null for one that could not be rendered in time, which is shown as it is."""

    documents: list[MarkdownDocument | None]


@router.post("/markdown", response={200: MarkdownOut, **ERRORS})
async def render_markdown(request: HttpRequest, body: MarkdownIn) -> HttpResponse:
    """Render texts as trees of nodes without HTML. Changes nothing, and counts as a request that reads."""
    require_clean(*body.texts)
    documents = await renderer.render(owner(request).pk, body.texts, is_open=body.open)
    # The documents are JSON already.
    content = b'{"documents":[' + b",".join(documents) + b"]}"
    return HttpResponse(content, content_type="application/json; charset=utf-8")
