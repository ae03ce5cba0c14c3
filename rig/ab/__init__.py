"""Two builds against each other."""
