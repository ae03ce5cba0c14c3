"""Reports: what a run leaves behind for people and for tools."""
