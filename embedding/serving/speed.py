"""How long the engine takes, learned from its calls."""

DECAY = 0.98  # of a call's weight with each later one: some 50 calls count
CALLS_NEEDED = 3
SHORT_TOKENS = 24  # a short query with its prompt


class Speed:
    """Seconds of a call as `overhead + tokens × per_token`, by least squares over the latest calls.

    Knows nothing before the first few calls. The very first is left out: it sets up what later ones find.
    """

    def __init__(self) -> None:
        self._calls = -1
        # weighted sums of 1, tokens, seconds, tokens², tokens × seconds
        self._sums = (0.0, 0.0, 0.0, 0.0, 0.0)

    def observe(self, tokens: int, seconds: float) -> None:
        """A call of so many tokens took so long."""
        self._calls += 1
        if self._calls:
            new = (1, tokens, seconds, tokens * tokens, tokens * seconds)
            self._sums = tuple(DECAY * old + one for old, one in zip(self._sums, new, strict=True))  # type: ignore[assignment]

    @property
    def rate(self) -> float | None:
        """Tokens a second in calls of `turn` tokens, or None where it isn't known."""
        if self._calls < CALLS_NEEDED:
            return None
        overhead, per_token = self._line()
        return self.turn() / max(overhead + per_token * self.turn(), 1e-9)

    def turn(self) -> int:
        """Tokens of a call that takes one and a half times as long as a short query's.

        Where every other caller's work comes in such calls, a short query that waits for one of them and then runs
        takes less than three times as long as alone.
        """
        if self._calls < CALLS_NEEDED:
            return 0
        overhead, per_token = self._line()
        return int(1.5 * SHORT_TOKENS + 0.5 * overhead / per_token)

    def _line(self) -> tuple[float, float]:
        """Overhead and seconds a token; calls of one size alone say nothing of the overhead, and none is assumed."""
        weight, tokens, seconds, squares, products = self._sums
        mean = max(seconds / tokens, 1e-9)
        spread = squares * weight - tokens * tokens
        slope = (products * weight - tokens * seconds) / spread if spread > 0.05 * tokens * tokens else mean
        per_token = min(max(slope, 0.1 * mean), mean)
        return max(0.0, (seconds - per_token * tokens) / weight), per_token
