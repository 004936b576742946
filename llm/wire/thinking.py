"""Says in the words of a model's provider how much the model is to think, or leaves it out.

Clients of other APIs than chat completions send such wishes with every request, whatever the model is. A model that
does not know them answers without them, and an error would help no one.
"""

from collections.abc import Mapping
from typing import Any

from llm import catalog
from llm.wire.cache_marks import speaks_anthropic

#: Levels of effort, by the largest budget of tokens that means the same.
EFFORTS_BY_BUDGET = {2_048: "low", 8_192: "medium"}
#: Providers that know more levels than three. For its own LiteLLM knows them, but no higher ones.
MANY_LEVELS = frozenset({"openai", "openrouter"})
#: LiteLLM's budgets for levels of effort. Anthropic wants a budget below the limit on the whole answer.
BUDGETS_BY_EFFORT = {"max": 16_384, "xhigh": 8_192, "high": 4_096, "medium": 2_048, "low": 1_024}


def fit_thinking(options: Mapping[str, Any], model: str, limit: int | None) -> dict[str, Any]:
    """Return options with `thinking` and `reasoning_effort` as the model's provider takes them.

    `limit` is the most tokens of the answer.
    """
    fitted = dict(options)
    thinking, effort = fitted.pop("thinking", None), fitted.pop("reasoning_effort", None)
    kind = thinking.get("type") if isinstance(thinking, Mapping) else None
    effort = effort if isinstance(effort, str) else ""
    if speaks_anthropic(model):
        return fitted | _for_anthropic(thinking if kind else None, effort, fitted.get("tool_choice"), limit)
    if kind == "disabled" or "reasoning" not in catalog.find(model).capabilities:
        return fitted
    if isinstance(thinking, Mapping) and not effort:
        effort = _effort_of(thinking.get("budget_tokens"))
    effort = _known_level(effort, model)
    return {**fitted, "reasoning_effort": effort} if effort else fitted


def _for_anthropic(thinking: Any, effort: Any, tool_choice: Any, limit: int | None) -> dict[str, Any]:
    kind = thinking["type"] if thinking else None
    if kind == "disabled":
        return {"thinking": {"type": "disabled"}}
    if tool_choice not in (None, "auto", "none"):
        # A model that must call a tool cannot think before.
        return {}
    if kind == "enabled" or (kind and not effort):
        return {"thinking": dict(thinking)}
    level = "low" if effort == "minimal" else effort
    while level in BUDGETS_BY_EFFORT and limit is not None and limit <= BUDGETS_BY_EFFORT[level]:
        level = _lower(level)
    return {"reasoning_effort": level} if level in BUDGETS_BY_EFFORT else {}


def _lower(level: str) -> str:
    levels = [*BUDGETS_BY_EFFORT, ""]
    return levels[levels.index(level) + 1]


def _known_level(effort: str, model: str) -> str:
    """Return a level of effort that a model's provider knows. Most know three."""
    provider = catalog.provider_of(model)
    if effort == "max" or (effort == "xhigh" and not (provider and provider.name in MANY_LEVELS)):
        return "high"
    return "low" if effort == "minimal" and provider and provider.name not in MANY_LEVELS else effort


def _effort_of(budget: Any) -> str:
    """Return the level of effort for a budget of tokens, empty for none: then the model decides."""
    if not isinstance(budget, int) or isinstance(budget, bool):
        return ""
    return next((effort for limit, effort in EFFORTS_BY_BUDGET.items() if budget <= limit), "high")
