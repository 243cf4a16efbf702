"""Where finished vectors go beside their folder: a LanceDB table, or a dataset on the hub."""

from pathlib import Path

from embedding.corpus.errors import CorpusError
from embedding.corpus.write.hub import DATASETS, push
from embedding.corpus.write.lance_table import TABLE_FOLDER, is_installed, write_table
from embedding.settings import CorpusSettings

LANCE = "lance"


def check_destination(settings: CorpusSettings, token: str | None) -> None:
    """Raise CorpusError, before anything is computed, where `to` names no place that files can go to."""
    if settings.index and settings.to != LANCE:
        raise CorpusError("INDEX: an index is of a LanceDB table. Ask for one: --to lance.")
    if settings.to is None:
        return
    if settings.to == LANCE:
        if not is_installed():
            raise CorpusError("--to lance needs lancedb, which is not installed: pip install lancedb pylance")
    elif not settings.to.startswith(DATASETS) or settings.to.removeprefix(DATASETS).count("/") != 1:
        raise CorpusError(f"TO: it must be {LANCE} or {DATASETS}OWNER/NAME.")
    elif token is None:
        raise CorpusError(f"--to {settings.to} needs HF_TOKEN: a token that may write there.")


def deliver(output: Path, settings: CorpusSettings, token: str | None) -> str:
    """Bring the finished files of `output` to where `settings` say; what was done, in words. Raises CorpusError."""
    if settings.to is None:
        return ""
    if settings.to == LANCE:
        return write_table(output, output / TABLE_FOLDER, index=settings.index)
    return push(output, settings.to, token)
