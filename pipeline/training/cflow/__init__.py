"""How CFLOW is fitted."""
