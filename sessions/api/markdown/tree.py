"""The nodes of a document, from the parser's tokens.

A node is a text, or a list of a name, attributes and children. `docs/protocol.md` has the names.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from markdown_it.token import Token

from sessions.api.markdown.highlighting import Highlighter

Node = Any

NAMES = {
    "paragraph_open": "p",
    "blockquote_open": "blockquote",
    "bullet_list_open": "ul",
    "table_open": "table",
    "thead_open": "thead",
    "tbody_open": "tbody",
    "tr_open": "tr",
    "strong_open": "strong",
    "em_open": "em",
    "s_open": "s",
}


class UnknownToken(ValueError):
    """The parser returned a token that the tree has no node for."""


def build(tokens: Sequence[Token], highlighter: Highlighter | None) -> list[Node]:
    """Return the nodes of a balanced sequence of tokens. Raises UnknownToken."""
    root: list[Node] = ["root", {}]
    stack = [root]
    for token in tokens:
        if token.nesting == -1:
            stack.pop()
        elif token.nesting == 0:
            for leaf in _leaves(token, highlighter):
                _append(stack[-1], leaf)
        elif token.hidden:
            # A paragraph of a tight list: its text belongs to the item itself.
            stack.append(stack[-1])
        else:
            node = [_name(token), _attributes(token)]
            stack[-1].append(node)
            stack.append(node)
    return root[2:]


def _append(parent: list[Node], child: Node) -> None:
    """Add a child, or join two texts that stand beside each other."""
    if not isinstance(child, str) or len(parent) == 2 or not isinstance(parent[-1], str):
        parent.append(child)
    else:
        parent[-1] += child


def _name(token: Token) -> str:
    match token.type:
        case "heading_open" | "ordered_list_open" | "list_item_open" | "link_open" | "td_open" | "th_open":
            return token.tag
        case "footnote_reference_open":
            return "footnote"
    if token.type not in NAMES:
        raise UnknownToken(token.type)
    return NAMES[token.type]


def _attributes(token: Token) -> dict[str, Any]:
    match token.type:
        case "list_item_open":
            is_task = {"checked": token.meta["checked"]} if "checked" in token.meta else {}
            return ({"value": token.info} if token.info else {}) | is_task
        case "link_open":
            return _link(token, "href")
        case "td_open" | "th_open" if style := token.attrs.get("style"):
            return {"align": str(style).removeprefix("text-align:")}
        case "footnote_reference_open":
            return {"label": token.meta["label"]}
    return {}


def _link(token: Token, source: str) -> dict[str, Any]:
    fields = {"href": token.attrs[source], "title": token.attrs.get("title"), "label": token.meta.get("label")}
    return {name: value for name, value in fields.items() if value}


def _leaves(token: Token, highlighter: Highlighter | None) -> list[Node]:
    match token.type:
        case "inline":
            return build(token.children or [], highlighter)
        case "text" | "text_special":
            return [token.content]
        case "softbreak":
            return ["\n"]
        case "hardbreak":
            return [["br", {}]]
        case "code_inline":
            return [["code", {}, token.content]]
        case "fence" | "code_block":
            info, code = token.info.strip(), token.content.removesuffix("\n")
            pieces = highlighter.pieces(code, info) if highlighter else [code]
            return [["pre", {"info": info} if info else {}, *pieces]]
        case "image":
            return [["image", _link(token, "src"), _plain(token.children or [])]]
        case "hr":
            return [["hr", {}]]
        case "footnote_ref":
            return [["ref", {"label": token.meta["label"]}]]
        case "definition":
            label, url, title = (token.meta[key] for key in ("label", "url", "title"))
            return [["definition", {}, f"[{label}]: {url}" + (f' "{title}"' if title else "")]]
        case "math_inline":
            opening = token.markup
            return [["math", {}, opening + token.content + CLOSING[opening]]]
        case "math_block" | "math_block_eqno":
            opening = token.markup
            number = f" ({token.info})" if token.type == "math_block_eqno" else ""
            return [["pre", {"math": True}, opening + token.content + CLOSING[opening] + number]]
    raise UnknownToken(token.type)


CLOSING = {"$": "$", "$$": "$$", "\\(": "\\)", "\\[": "\\]"}


def _plain(tokens: Sequence[Token]) -> str:
    return "".join("\n" if each.type in ("softbreak", "hardbreak") else each.content for each in tokens)


def texts(node: Node) -> Iterator[str]:
    """Yield what a person sees of a node, or finds at it: texts, numbers, addresses, titles, labels."""
    if isinstance(node, str):
        yield node
        return
    name, attributes, *children = node
    yield from (str(attributes[key]) for key in ("info", "value") if key in attributes)
    if attributes.get("checked"):
        yield "x"
    if name in ("footnote", "ref"):
        yield attributes["label"]
    show: Callable[[Node], Iterator[str]] = _piece_text if name == "pre" else texts
    for child in children:
        yield from show(child)
    if name not in ("footnote", "ref"):
        yield from (attributes[key] for key in ("href", "title", "label") if attributes.get(key))


def _piece_text(piece: Node) -> Iterator[str]:
    yield piece if isinstance(piece, str) else piece[1]
