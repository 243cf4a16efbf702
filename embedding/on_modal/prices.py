"""Modal's list prices. An account has its own: `modal billing rates`."""

from collections.abc import Sequence

# Of a second, from https://modal.com/pricing as transcribed on 2026-07-01 in
# https://github.com/api-evangelist/modal-labs/blob/main/plans/modal-labs-plans-pricing.yml (the same on 2026-05-25 in
# api-evangelist/modal-com). The page itself was not read; list prices change.
PRICES_READ = "2026-07-01"
CORE = 0.0000131  # a physical core
GIB = 0.00000222  # of memory
GPUS = {
    "T4": 0.000164,
    "L4": 0.000222,
    "A10": 0.000306,
    "L40S": 0.000542,
    "A100-40GB": 0.000583,
    "A100-80GB": 0.000694,
    "H100": 0.001097,
    "H200": 0.001261,
    "B200": 0.001736,
}
# What containers that must run in a region cost more, by https://modal.com/docs/guide/region-selection.
BROAD_REGION, NARROW_REGION = 1.5, 1.75
SAME_PRICE = {"A100": "A100-40GB", "H100!": "H100", "B200+": "B200"}  # assumed


def dollars_a_second(
    cores: float, memory_gib: float, cards: Sequence[str] = (), regions: Sequence[str] = ()
) -> float | None:
    """What a container costs that uses no more than it requests; None with a card of no known price.

    Of several cards, any of which it may get, the dearest counts.
    """
    prices = [GPUS.get(SAME_PRICE.get(card, card)) for card in cards]
    if None in prices:
        return None
    card = max((price for price in prices if price is not None), default=0.0)
    factor = (NARROW_REGION if all("-" in region for region in regions) else BROAD_REGION) if regions else 1.0
    return factor * (cores * CORE + memory_gib * GIB + card)
