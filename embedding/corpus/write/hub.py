"""Pushes finished vectors to a dataset of the Hugging Face Hub."""

from pathlib import Path

from embedding.corpus.read.remote import explained

DATASETS = "hf://datasets/"
FILES = ("shards/*.parquet", "manifest.json", "rejects.jsonl", "job.json")
CARD = "README.md"
# Without this, the hub would take every file for data.
WORDS = b"""---
configs:
- config_name: default
  data_files: shards/*.parquet
---

Vectors of texts. `manifest.json` says which model made them, and how.
"""


def push(output: Path, to: str, token: str | None) -> str:
    """Copy the files of `output` to the dataset `to`, private if it is new; what was done, in words.

    Nothing there is deleted, and a card that is there stays. Raises CorpusError.
    """
    from huggingface_hub import HfApi

    name, hub = to.removeprefix(DATASETS), HfApi(token=token)
    with explained(to, token, remote=True):
        hub.create_repo(name, repo_type="dataset", private=True, exist_ok=True)
        hub.upload_folder(
            repo_id=name, repo_type="dataset", folder_path=output, allow_patterns=list(FILES), commit_message="Vectors"
        )
        if not hub.file_exists(name, CARD, repo_type="dataset"):
            hub.upload_file(path_or_fileobj=WORDS, path_in_repo=CARD, repo_id=name, repo_type="dataset")
    return f"Pushed to {to}."
