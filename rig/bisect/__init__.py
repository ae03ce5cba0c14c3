"""Find the first build, or the first commit, that shows a failure."""
