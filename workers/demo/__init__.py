"""`make demo`: the whole factory on one machine, on real images, with a report at the end."""
