"""A package, so that the plant ends with its last test: Ray takes a good part of a core while it stands idle."""
