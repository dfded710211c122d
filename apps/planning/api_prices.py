"""What providers ask for the same fine-tune behind their API: a price a trained token, with its date and source.

Providers bill epochs x tokens of the data set. Kept are prices that two pages agree on; pages that contradict them
(3.00 US dollars for the same model, or 0.03 for its small one) are left out, as are providers whose rates nobody read.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiPrice:
    provider: str
    model: str
    usd_per_million_tokens: float
    date: str
    source: str


@dataclass(frozen=True, slots=True)
class ApiCost:
    price: ApiPrice
    usd: float


API_PRICES = (
    ApiPrice(
        "OpenAI",
        "gpt-4o",
        25.0,
        "2026-04",
        "https://artificial-intelligence-wiki.com/ai-development/training-and-fine-tuning/openai-fine-tuning-pricing",
    ),
)


def api_costs(dataset_tokens: float, epochs: float = 1.0) -> list[ApiCost]:
    """US dollars for `epochs` passes over `dataset_tokens`, cheapest first."""
    costs = [ApiCost(each, dataset_tokens * epochs * each.usd_per_million_tokens / 1e6) for each in API_PRICES]
    return sorted(costs, key=lambda each: each.usd)
