"""Files: whole or not there, below folders, for people and for configuration."""
