"""How good a bundle is: figures, and the pages that show them."""
