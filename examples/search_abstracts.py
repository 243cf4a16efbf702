"""Search the abstracts that the service's page shows: index them into LanceDB, ask, print the ranking.

    pip install '.[client]' lancedb
    export EMBEDDING_URL=http://127.0.0.1:7860 auth_token=…
    python examples/search_abstracts.py "why do old galaxies stop making stars?"

The first run makes the index, in the folder abstracts.lance; later ones search it.
"""

import json
import sys
from importlib.resources import files

import lancedb

from embedding.client import EmbeddingClient

FOLDER = "abstracts.lance"


def index(client: EmbeddingClient, database: lancedb.DBConnection) -> lancedb.table.Table:
    """A table of the abstracts, their vectors, and the model that made them."""
    abstracts = json.loads((files("embedding") / "api/static/abstracts.json").read_text("utf-8"))
    vectors = client.embed_documents([f"{abstract['title']}\n{abstract['text']}" for abstract in abstracts])
    model = str(client.info().model)
    rows = [{**abstract, "vector": vector, "model": model} for abstract, vector in zip(abstracts, vectors, strict=True)]
    return database.create_table("abstracts", rows)


def main(question: str) -> None:
    database = lancedb.connect(FOLDER)
    found = "abstracts" in database.list_tables().tables
    table = database.open_table("abstracts") if found else None
    # Vectors of two models can't be compared: the client refuses any model but the index's.
    model = table.head(1)["model"][0].as_py() if table else None
    with EmbeddingClient(expected_model=model) as client:
        table = table or index(client, database)
        ranking = table.search(client.embed_query(question)).distance_type("cosine").limit(5).to_list()
    for place, row in enumerate(ranking, 1):
        print(f"{place}. {1 - row['_distance']:.3f}  {row['title']}")


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or "why do old galaxies stop making stars?")
