"""What an operator sees: logs, metrics and traces. Knows nothing of the rest, and is told no text and no token."""
