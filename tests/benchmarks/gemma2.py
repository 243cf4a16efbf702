"""EmbeddingGemma 2's shapes with random weights, and what the service makes of them.

The real weights can't be had without a network; speed, memory and how near the vectors are do not need trained ones.

usage: python -m tests.benchmarks.gemma2 make FOLDER [--outliers] [--tokenizer FOLDER]
       python -m tests.benchmarks.gemma2 measure FOLDER
  --outliers   heavy-tailed channels as trained models of this family have them: hard to quantize
  --tokenizer  take that of another SentenceTransformer, such as a stand-in for the first EmbeddingGemma
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

LENGTHS = 5, 22, 600, 2048, 8192


def make(folder: Path, outliers: bool, tokenizer_of: Path | None) -> None:
    """Takes 5 GB of memory for a minute, and 1.1 GB of the disk."""
    import torch
    from transformers import EmbeddingGemma2TextConfig, EmbeddingGemma2TextModel, PreTrainedTokenizerFast

    from tests.tiny_gemma import tokenizer
    from tests.tiny_gemma2 import IMAGE, randomize, save

    torch.manual_seed(0)
    encoder = EmbeddingGemma2TextModel(EmbeddingGemma2TextConfig()).eval()
    randomize(encoder, outliers)
    words = PreTrainedTokenizerFast.from_pretrained(tokenizer_of) if tokenizer_of else tokenizer(IMAGE)
    print(save(encoder, words, folder))
