"""Campaigns: generated programs on a real machine, judged by the model; only what differs is kept."""
