"""What answers of a language model cost, as the platform says in each."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.cli.evaluation.judging import mean

INVENTED = "invented_markers"


def summarise_usage(usages: Sequence[Mapping[str, float]]) -> dict[str, Any] | None:
    """Return tokens and money for each answer that a model was asked for; None when none was.

    `cost` is in the currency of the configured prices; `invented_markers` is None where the platform does not tell.
    """
    asked = [usage for usage in usages if usage.get("llm_calls")]
    if not asked:
        return None
    invented = [usage[INVENTED] for usage in asked if INVENTED in usage]
    return {
        "answers": len(asked),
        "llm_calls": mean([usage["llm_calls"] for usage in asked]),
        "input_tokens": mean([usage.get("input_tokens", 0) for usage in asked]),
        "output_tokens": mean([usage.get("output_tokens", 0) for usage in asked]),
        "cost": mean([usage.get("cost", 0.0) for usage in asked]),
        "total_cost": sum(usage.get("cost", 0.0) for usage in asked),
        INVENTED: sum(invented) if invented else None,
    }
