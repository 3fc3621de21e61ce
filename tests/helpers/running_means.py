"""Shared by the tests of an epoch's running means."""


def add(means, value, prediction, target, tape):
    """Add a batch: its mean loss (a scalar array), outputs and targets."""
    means.accumulate(value, prediction, target, tape)
    means.count(prediction, len(prediction))


def read(means):
    """Return the means so far; they are read together with an arbitrary number on the device."""
    return means.read_with(means.totals[:1])[0]
