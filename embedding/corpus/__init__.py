"""Whole corpora to vectors: read a stream of rows, cut it into shards, embed each once. Knows nothing of HTTP."""

from embedding.corpus.cut.shards import Shard
from embedding.corpus.errors import CorpusError
from embedding.corpus.input import Input, open_input
from embedding.corpus.job import Job, Model, as_recorded, describe, make_job, recorded
from embedding.corpus.progress import Progress
from embedding.corpus.run import SHARDS, Map, Summary, embed_corpus
from embedding.corpus.worker import embed_shard
from embedding.corpus.write.shard_file import ShardReport

__all__ = [
    "SHARDS",
    "CorpusError",
    "Input",
    "Job",
    "Map",
    "Model",
    "Progress",
    "Shard",
    "ShardReport",
    "Summary",
    "as_recorded",
    "describe",
    "embed_corpus",
    "embed_shard",
    "make_job",
    "open_input",
    "recorded",
]
