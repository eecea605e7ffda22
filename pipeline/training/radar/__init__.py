"""How RADAR is fitted."""
