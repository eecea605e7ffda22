"""A package, so that the page's plant and the browser end with their last test, and take no core from the others."""
