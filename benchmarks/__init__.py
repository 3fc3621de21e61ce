"""Benchmarks with limits, comparisons with other frameworks, and the GPU report."""
