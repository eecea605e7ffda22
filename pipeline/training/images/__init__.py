"""Images of a data set: where they lie, which part they show, and who is fitted on which."""
