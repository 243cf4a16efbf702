"""What is said of a job in any home: what was found in its input, and what it came to."""

from embedding.corpus.progress import Progress
from embedding.corpus.rows import REJECTS
from embedding.corpus.run import Summary
from embedding.corpus.source import Source, open_source
from embedding.settings import CorpusSettings


def open_and_describe(address: str, token: str | None, corpus: CorpusSettings) -> Source:
    """The input at `address`, once it is printed what was found there and which of its columns are taken."""
    source = open_source(address, token)
    print(f"{source.name}: {len(source.files)} {source.kind.name} file(s), {source.columns(corpus)}", flush=True)
    return source


def describe_result(summary: Summary, output: str, progress: Progress) -> str:
    """What a job came to, in words; `output` is what its user calls the folder."""
    if summary.embedded == 0:
        first = f"{output} was complete already"
    else:
        seconds, texts = progress.seconds, progress.now.documents + progress.now.rejects
        rate = f"{texts / seconds:,.1f} texts/s, {progress.now.tokens / seconds:,.0f} tokens/s"
        first = f"{texts:,} texts embedded in {seconds:,.0f} s ({rate})"
    rejects = f"{summary.rejects:,} rows have none: {output}/{REJECTS}" if summary.rejects else "every row has one"
    vectors = f"{summary.chunks:,} vectors of {summary.documents:,} documents, {summary.tokens:,} tokens; {rejects}"
    return f"{first}.\n{vectors}."
