"""EmbeddingGemma 2: its vectors in both layouts and at all lengths, what of it is fetched, and what serves it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import EmbeddingGemma2Model

from embedding.corpus.errors import CorpusError
from embedding.model import load_engine
from embedding.model.encoder import OnnxEncoder
from embedding.model.errors import UnsupportedModel
from embedding.model.fetch.manifest import read_manifest
from embedding.model.fetch.text_part import placeholders, text_part
from embedding.model.reference import load_reference
from embedding.settings import Settings
from tests.cli import ROOT, run
from tests.corpora import Corpus, write_jsonl
from tests.fake_hub import MODEL, fake_hub
from tests.live import live
from tests.tiny_gemma import VOCABULARY
from tests.tiny_gemma2 import CHAT_TEMPLATE, IMAGE, write_multimodal_layout

LENGTHS = [5, 22, 128, 129, 600, 2048, 8192]
CONTEXT = 8192


@pytest.fixture(scope="module")
def reference(tiny_gemma2: Path) -> SentenceTransformer:
    return SentenceTransformer(str(tiny_gemma2), device="cpu")


@pytest.fixture(scope="module")
def texts() -> list[list[int]]:
    rng = np.random.default_rng(0)
    return [rng.integers(5, VOCABULARY, length).tolist() for length in LENGTHS]


@pytest.fixture(scope="module")
def multimodal(tiny_gemma2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_multimodal_layout(tiny_gemma2, tmp_path_factory.mktemp("gemma2") / "model", shard_size="300KB")


def embed(reference: SentenceTransformer, text: list[int]) -> np.ndarray:
    ids = torch.tensor([text])
    with torch.no_grad():
        return reference({"input_ids": ids, "attention_mask": torch.ones_like(ids)})["sentence_embedding"][0].numpy()


def test_float32_is_what_sentence_transformer_gives_alone_and_in_a_batch(
    prepared_gemma2: Path, reference: SentenceTransformer, texts: list[list[int]]
) -> None:
    encoder = OnnxEncoder(prepared_gemma2, "float32")
    expected = np.array([embed(reference, text) for text in texts])

    alone = np.vstack([encoder.embed([text]) for text in texts])
    together = encoder.embed([*texts, *texts[::-1][1:]])

    np.testing.assert_allclose(alone, expected, atol=2e-5)
    np.testing.assert_allclose(together, [*expected, *expected[::-1][1:]], atol=2e-5)


def test_int8_is_near_it_and_gives_a_text_one_vector_in_any_company(
    prepared_gemma2: Path, texts: list[list[int]]
) -> None:
    encoder = OnnxEncoder(prepared_gemma2, "int8")
    short = texts[:-1]

    alone = np.vstack([encoder.embed([text]) for text in short])

    np.testing.assert_allclose(encoder.embed([*short, *short]), [*alone, *alone], atol=1e-6)
    assert ((alone * OnnxEncoder(prepared_gemma2, "float32").embed(short)).sum(axis=1) > 0.995).all()


def test_both_precisions_pass_the_check(prepared_gemma2: Path) -> None:
    manifest = read_manifest(prepared_gemma2)

    assert manifest.precisions == ["int8", "float32"]
    assert manifest.fidelity["float32"].minimum > 1 - 1e-5
    assert manifest.fidelity["int8"].mean > 0.9985
    assert manifest.fidelity["int8"].minimum > 0.99


def test_a_long_text_needs_no_memory_for_all_pairs_of_its_tokens(prepared_gemma2: Path) -> None:
    code = f"""
from pathlib import Path
from embedding.corpus.errors import CorpusError
from embedding.model import load_engine
from embedding.model.encoder import OnnxEncoder
encoder = OnnxEncoder(Path({str(prepared_gemma2)!r}), "float32", threads=2)
encoder.embed([[7] * {CONTEXT}])
print(next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert int(done.stdout.split()[-2]) < 600_000  # kB; the scores of all pairs are a million


def test_what_sees_and_hears_is_served_with_its_dimensions_and_its_limit(
    multimodal: Path, reference: SentenceTransformer
) -> None:
    with live(model_id=str(multimodal), precision="float32") as client:
        info = client.get("/info").json()
        answer = client.post("/predict", json={"query": ["lattice", "word " * CONTEXT], "task": "document"})

    assert (info["engine"], info["dimension"], info["max_input_length"]) == ("onnx", 768, CONTEXT)
    assert info["matryoshka_dimensions"] == [768, 512, 256, 128]
    assert answer.headers["X-Truncated"] == "1"
    np.testing.assert_allclose(answer.json()[0], reference.encode_document("lattice"), atol=2e-5)


def test_of_the_model_that_sees_and_hears_only_what_reads_text_is_fetched(
    multimodal: Path, tmp_path: Path, reference: SentenceTransformer
) -> None:
    with fake_hub(multimodal) as hub:
        done = run("download", "--model", MODEL, HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path), ENGINE="torch")

    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.splitlines()[-1])
    index = json.loads((multimodal / "model.safetensors.index.json").read_text())["weight_map"]
    needed = {file for name, file in index.items() if name.startswith("language_model.")}
    assert {path.name for path in folder.glob("*.safetensors")} == needed < set(index.values())
    assert hub.sent_tokens == {""}
    np.testing.assert_allclose(
        load_reference(folder).encode_query("lattice"), reference.encode_query("lattice"), atol=1e-6
    )


def test_a_text_that_spells_out_an_image_is_what_the_whole_model_makes_of_it(multimodal: Path) -> None:
    whole = EmbeddingGemma2Model.from_pretrained(multimodal, vision_config=None, audio_config=None).eval()
    model = load_reference(multimodal)
    ids = model.tokenizer(model.prompts["query"] + f"a {IMAGE} of it", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        expected = whole(input_ids=ids).last_hidden_state[0].mean(dim=0)

    vector = model.encode_query(f"a {IMAGE} of it")

    np.testing.assert_allclose(vector, expected / expected.norm(), atol=1e-6)
    assert whole.config.image_token_id in ids[0]


def test_a_configuration_may_leave_out_what_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "embedding_gemma2", "text_config": {}}))

    assert placeholders(tmp_path) == ([258_880, 258_884, 258_881], 0)


def test_a_chat_template_that_only_joins_is_left_out_and_another_is_not(multimodal: Path, tmp_path: Path) -> None:
    other = shutil.copytree(multimodal, tmp_path / "other")
    (other / "chat_template.jinja").write_text("<start>" + CHAT_TEMPLATE)

    with text_part(multimodal) as part:
        assert not (part / "chat_template.jinja").exists()
        assert json.loads((part / "config.json").read_text())["model_type"] == "embedding_gemma2_text"
    assert not part.exists()
    with text_part(other) as part:
        assert part == other


def test_a_model_without_the_tensors_that_read_text_is_refused(multimodal: Path, tmp_path: Path) -> None:
    other = shutil.copytree(multimodal, tmp_path / "other", ignore=shutil.ignore_patterns("*.safetensors"))

    with pytest.raises(UnsupportedModel, match="language_model"), text_part(other):
        pass


def test_embed_does_not_go_on_where_the_other_model_began(
    corpus: Corpus, prepared_gemma2: Path, tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "texts.jsonl", [{"id": 1, "text": "granite"}])
    engine = load_engine(Settings.read(model_id=str(prepared_gemma2), precision="float32"))
    corpus.embed(source, tmp_path / "out")

    with pytest.raises(CorpusError, match=r"the vectors of another job: .*name"):
        Corpus(engine, prepared_gemma2).embed(source, tmp_path / "out")
