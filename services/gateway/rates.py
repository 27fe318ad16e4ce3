"""How fast each stage gets on, from samples of its progress."""

from collections import defaultdict, deque


class Rates:
    """Keeps a bounded window of samples for each stage; times in seconds."""

    def __init__(self, *, window_seconds: float, max_samples: int) -> None:
        self._window_seconds = window_seconds
        self._samples: defaultdict[str, deque[tuple[float, int]]] = defaultdict(lambda: deque(maxlen=max_samples))

    def sample(self, stage: str, at: float, done: int) -> None:
        """Take a sample: how many messages the stage had done at a moment; a count that falls starts afresh."""
        samples = self._samples[stage]
        if samples and done < samples[-1][1]:
            samples.clear()
        samples.append((at, done))
        while at - samples[0][0] > self._window_seconds:
            samples.popleft()

    def per_second(self, stage: str) -> float | None:
        """Return the rate over the window; None until there are two samples."""
        samples = self._samples[stage]
        if len(samples) < 2 or samples[-1][0] <= samples[0][0]:
            return None
        (first_at, first), (last_at, last) = samples[0], samples[-1]
        return (last - first) / (last_at - first_at)
