"""One file a section: a function that measures and returns what it found."""
