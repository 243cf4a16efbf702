"""Whole corpora to vectors: read a stream of rows, cut it into shards, embed each once. Knows nothing of HTTP."""

from embedding.corpus.errors import CorpusError
from embedding.corpus.job import Job, Model, as_recorded, describe, recorded
from embedding.corpus.progress import Progress
from embedding.corpus.run import SHARDS, Map, Summary, embed_corpus
from embedding.corpus.shard_file import ShardReport
from embedding.corpus.shards import Shard
from embedding.corpus.source import Source, open_source
from embedding.corpus.worker import embed_shard

__all__ = [
    "SHARDS",
    "CorpusError",
    "Job",
    "Map",
    "Model",
    "Progress",
    "Shard",
    "ShardReport",
    "Source",
    "Summary",
    "as_recorded",
    "describe",
    "embed_corpus",
    "embed_shard",
    "open_source",
    "recorded",
]
