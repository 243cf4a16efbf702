"""From vectors to what is kept: shard files, a LanceDB table, a dataset on the hub."""
