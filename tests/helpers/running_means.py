"""What the tests of the running means of an epoch share."""


def add(means, value, prediction, target, tape):
    """Add a batch: its mean loss (), its outputs and its targets."""
    means.accumulate(value, prediction, target, tape)
    means.count(prediction, len(prediction))


def read(means):
    """Return the means so far; the number that is read with them is any on the device."""
    return means.read_with(means.totals[:1])[0]
