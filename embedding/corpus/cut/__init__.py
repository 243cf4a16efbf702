"""From rows to units of work: texts into windows that the model can read, documents into shards."""
