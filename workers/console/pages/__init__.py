"""One file a view: what it asks of the desk, and which template shows it."""
