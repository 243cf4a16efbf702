"""Cut a request into engine calls."""

from collections.abc import Iterator, Sequence


def batches(lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """Group the indices of `lengths` (tokens of each text) into batches, longest texts first.

    A batch costs its longest text times its count, since shorter ones are padded to the longest; that stays within
    `max_tokens`, except that a batch holds at least one text. Neighbours are of like length, so little is padded.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and lengths[batch[0]] * (len(batch) + 1) > max_tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
