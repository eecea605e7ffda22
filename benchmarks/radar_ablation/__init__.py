"""What each of RADAR's open choices is worth."""
