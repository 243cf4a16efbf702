"""Which words stand before a text, for each task and each kind of model."""

import pytest

from embedding.model.prompts import Prompt, find_prompt, task_names

GEMMA = {
    "query": "task: search result | query: ",
    "document": "title: none | text: ",
    "Classification": "task: classification | query: ",
    "Clustering": "task: clustering | query: ",
    "InstructionRetrieval": "task: code retrieval | query: ",
    "STS": "task: sentence similarity | query: ",
    "Retrieval-document": "title: none | text: ",
    "Summarization": "task: summarization | query: ",
}
E5 = {"query": "query: ", "document": "", "passage": "passage: "}
BARE: dict[str, str | None] = {"query": "", "document": ""}


@pytest.mark.parametrize(
    ("task", "prompt"),
    [
        ("query", Prompt("query")),
        ("document", Prompt("document")),
        ("search_query", Prompt("query")),
        ("search_document", Prompt("document")),
        ("classification", Prompt("query", "task: classification | query: ")),
        ("clustering", Prompt("query", "task: clustering | query: ")),
        ("similarity", Prompt("query", "task: sentence similarity | query: ")),
        ("code", Prompt("query", "task: code retrieval | query: ")),
        ("question-answering", Prompt("query", "task: question answering | query: ")),
        ("fact-checking", Prompt("query", "task: fact checking | query: ")),
        ("Summarization", Prompt("query", "task: summarization | query: ")),
        ("Retrieval-document", Prompt("document")),
        ("none", Prompt("query", "")),
        ("summarization", None),
        ("walrus", None),
        ("", None),
    ],
)
def test_every_task_of_embeddinggemma_has_its_prompt(task: str, prompt: Prompt | None) -> None:
    assert find_prompt(GEMMA, task) == prompt


def test_a_model_s_own_words_win_over_those_of_the_model_card() -> None:
    own = {**GEMMA, "STS": "task: likeness | query: ", "InstructionRetrieval": "task: source | query: "}

    assert find_prompt(own, "similarity") == Prompt("query", "task: likeness | query: ")
    assert find_prompt(own, "code") == Prompt("query", "task: source | query: ")


def test_a_model_with_few_prompts_has_few_tasks() -> None:
    assert task_names(E5) == ["query", "document", "passage", "none"]
    assert find_prompt(E5, "passage") == Prompt("document", "passage: ")
    assert find_prompt({**E5, "InstructionRetrieval": "Instruct: "}, "code") is None


def test_a_model_without_prompts_makes_no_difference_between_tasks() -> None:
    assert find_prompt(BARE, "clustering") == Prompt("query")
    assert find_prompt(BARE, "STS") is None
