"""The operator's page: what the factory sees, why a line stopped, and the acts of a person on it."""
