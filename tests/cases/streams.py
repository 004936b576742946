"""What each case of a provider's stream has to show, by its id; and what its near inputs have to keep."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.cases.checks import (
    A_TXT,
    B_TXT,
    Checks,
    answers,
    asks_for,
    calls,
    does_not_look_whole,
    fails,
    forgets_thoughts,
    has_no_text_beside_calls,
    has_results,
    is_not_blank,
    is_not_repeated,
    keeps,
    leaves_out,
    reaches_the_model,
    refuses,
    runs_nothing_and_fails,
    says,
    says_or_fails,
    sends_only_possible_names,
    signature_comes_back,
    signature_goes_through,
    tells_that_there_is_no_such_tool,
    tells_what_is_missing,
    thinks,
    thought_comes_back,
)
from tests.cases.files import Json

ONE_TWO = Checks((answers("one two", requests=1),), (says("one two"),))
OBJECT = Checks((calls(A_TXT), answers("done", requests=2), has_results), (asks_for(A_TXT),))
TWO_CALLS = Checks((calls(A_TXT, B_TXT), answers("done", requests=2), has_results), (asks_for(A_TXT, B_TXT),))
TOO_LONG = Checks(
    (fails("model_context_too_long", requests=1),), (refuses(400, code="context_length_exceeded", requests=1),)
)
LIMITED = Checks((fails("model_rate_limited"),), (refuses(429),))
UNKNOWN_FIELD = Checks(
    (answers("hello", turn=0), answers("hello", requests=3), leaves_out("stream_options", requests=3)),
    (says("hello", requests=2),),
)
NEXT = (answers("next"),)

STREAMS: dict[str, Checks] = {
    "blank-answer-after-a-tool": Checks((calls(A_TXT), answers("second try", requests=3)), (asks_for(A_TXT),)),
    "blank-answer-nothing": Checks((answers("second try", requests=2),), (says(""),)),
    "blank-answer-only-a-thought": Checks(
        (answers("second try", requests=2),), (says("", thought="I should answer."),)
    ),
    "blank-answer-only-blanks": Checks((answers("second try", requests=2),), (says("\n\n"),)),
    "broken-bytes-in-one-event": Checks((answers("ok \ufffdend", "ok end", requests=1),), (says("ok end"),)),
    "byte-order-mark-first": ONE_TWO,
    "call-arguments-object": OBJECT,
    "call-arguments-object-beside-message": OBJECT,
    "call-arguments-object-empty": Checks(
        (calls(), answers("done", requests=2), tells_what_is_missing), (asks_for(("list_files", {})),)
    ),
    "call-without-text-session": Checks((calls(A_TXT), answers("done", requests=2), has_no_text_beside_calls)),
    "calls-no-index-new-id": TWO_CALLS,
    "calls-no-index-no-id": TWO_CALLS,
    "calls-one-index-new-id": TWO_CALLS,
    "calls-one-index-new-id-in-pieces": TWO_CALLS,
    "content-list-text": Checks((answers("Yes.", requests=1),), (says("Yes."),)),
    "content-list-thought-and-text": Checks(
        (answers("Yes.", requests=1), thinks("Hm.")), (says("Yes.", thought="Hm."),)
    ),
    "content-list-unknown-part": Checks((answers("Yes.", requests=1),), (says("Yes."),)),
    "empty-event": ONE_TWO,
    "empty-event-before-words": ONE_TWO,
    "empty-event-blank": ONE_TWO,
    "empty-event-ping": ONE_TWO,
    "finish-failure-after-a-call": Checks((runs_nothing_and_fails,), (does_not_look_whole("stop", "tool_calls"),)),
    "finish-failure-after-words": Checks(
        (fails("model_truncated", requests=1), keeps("half an")), (does_not_look_whole("stop", requests=1),)
    ),
    "finish-failure-nothing-said": Checks(
        (answers("second try", requests=2),), (says_or_fails("second try", requests=2),)
    ),
    "finish-sensitive-at-the-door": Checks((is_not_blank,), (says("", reason="content_filter"),)),
    "finish-window-exceeded-at-the-door": Checks((keeps("half an"),), (says("half an", reason="length"),)),
    "made-up-tool-name-in-history": Checks(
        (
            answers("next", turn=0),
            answers("later", requests=3),
            tells_that_there_is_no_such_tool,
            sends_only_possible_names,
            has_results,
        )
    ),
    "no-money-is-not-asked-again": Checks(
        (fails("model_rate_limited", "model_not_authorized", "model_refused", "model_out_of_credit", requests=1),),
        (is_not_repeated,),
    ),
    "no-stream-options-400": UNKNOWN_FIELD,
    "no-stream-options-422": UNKNOWN_FIELD,
    "overflow-body-is-a-list": TOO_LONG,
    "overflow-error-is-a-text": TOO_LONG,
    "overflow-input-and-limit": TOO_LONG,
    "overflow-json-line-in-stream": TOO_LONG,
    "overflow-object-error-in-stream": TOO_LONG,
    "overflow-prompt-token-count": TOO_LONG,
    "overflow-tokens-in-request": TOO_LONG,
    "quota-413-is-no-overflow": LIMITED,
    "quota-500-is-no-overflow": Checks((fails("model_rate_limited", "model_unavailable"),), (refuses(429, 503),)),
    "quota-in-stream-is-no-overflow": LIMITED,
    "thought-comes-back-within-the-turn": Checks(
        (calls(A_TXT), answers("done", turn=0), answers("later", requests=3), thought_comes_back)
    ),
    "thought-signature-comes-back": Checks((calls(A_TXT), answers("done", requests=2), signature_comes_back)),
    "thought-signature-through-the-door": Checks((), (signature_goes_through, says("done", requests=2))),
    "three-user-messages-after-two-stops": Checks((*NEXT, reaches_the_model("one", "two", "last"))),
    "two-user-messages-after-a-failed-turn": Checks((*NEXT, reaches_the_model("one", "last"))),
    "two-user-messages-after-a-stopped-turn": Checks((*NEXT, reaches_the_model("one", "last"))),
    "whole-answer-instead-of-a-stream": Checks((answers("ok", requests=1),), (says("ok"),)),
}

ONE_CALL = Checks((calls(A_TXT), answers("done", requests=2)), (asks_for(A_TXT),))

#: By the words of a near input's `stays`.
KEPT: dict[str, Checks] = {
    "one call read_file a.txt: an id that comes again is the same call": ONE_CALL,
    "one call read_file a.txt": ONE_CALL,
    "final 'one two'": ONE_TWO,
    "the call runs": Checks((calls(A_TXT),), (asks_for(A_TXT),)),
    "a complete answer: an unknown reason that names no failure is harmless": Checks(
        (answers("all said", requests=1),), (says("all said"),)
    ),
    "model_broken_tool_call, and the next message is answered": Checks(
        (lambda it: fails("model_broken_tool_call")(type(it)(it.turns[:1], [], [], [])), answers("later"))
    ),
    "model_context_too_long, 1 request": TOO_LONG,
    "model_rate_limited": LIMITED,
    "two plain messages: request 2 has no reasoning_content of the first turn": Checks(
        (answers("Yes.", turn=0), answers("later", requests=2), forgets_thoughts)
    ),
}


def _with_stop(given: Json) -> Json:
    first, done = given["replies"][0], words("done", "stop")
    stopped = first | {"body": first["body"].replace("REASON", "stop")}
    return {key: value for key, value in given.items() if key != "for_each_reason"} | {"replies": [stopped, done]}


def _with_eos(given: Json) -> Json:
    return {**given, "for_each_reason": ["eos"], "replies": [words("all said", "REASON")]}


def _without_a_name(given: Json) -> Json:
    return {**given, "for_each_name": [""], "replies": [given["replies"][0], given["replies"][2]]}


def words(text: str, reason: str) -> Json:
    """Return a reply that says a text."""
    events = ({"delta": {"content": text}, "finish_reason": None}, {"delta": {}, "finish_reason": reason})
    body = "".join(f"data: {json.dumps({'choices': [{'index': 0, **event}]})}\n\n" for event in events)
    return {"status": 200, "type": "text/event-stream", "body": f"{body}data: [DONE]\n\n"}


#: How a near input that is told in words is made of a case's own.
IN_WORDS: dict[str, Callable[[Json], Json]] = {
    "the same with reason 'stop'": _with_stop,
    "reason 'eos' behind 'all said'": _with_eos,
    "an empty name": _without_a_name,
}


def near_inputs(case: Json) -> list[tuple[Json, Checks]]:
    """Return the inputs beside a case that are right, each with its checks."""
    given, found = case["input"], []
    for kept in case.get("keep", ()):
        match kept["input"]:
            case str(words):
                near = IN_WORDS[words](given)
            case dict(reply):
                near = given | {"replies": [reply]}
            case replies:
                near = given | {"replies": [*replies, *given["replies"][len(replies) :]]}
        if kept["stays"].startswith("two plain messages"):
            near = near | {"steps": [{"message": "one"}, {"message": "two"}], "provider_refuses": ""}
        found.append((near, KEPT[kept["stays"]]))
    return found
