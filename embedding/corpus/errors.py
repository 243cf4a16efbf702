"""What ends a job before its end, said so that the reader knows what to do."""


class CorpusError(Exception):
    """The input can't be read, the output can't be written or is another job's; the message says what to do."""
