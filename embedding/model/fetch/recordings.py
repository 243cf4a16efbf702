"""Which models SentenceTransformer was asked about beforehand, so that no torch is needed to prepare them."""

import json
from pathlib import Path

RECORDINGS = Path(__file__).parent.parent / "recordings"


def find_recording(content: str) -> Path | None:
    """The recording of the model that has this `content_digest`, as prepare/recorded.py reads it."""
    for path in sorted(RECORDINGS.glob("*.json")):
        if json.loads(path.read_bytes())["content"] == content:
            return path
    return None
