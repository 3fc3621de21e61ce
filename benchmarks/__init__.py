"""Figures with limits, comparisons, the report of a GPU; a package, so that no other of this name takes its place."""
