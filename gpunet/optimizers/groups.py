"""Parameter groups, which have their own learning rate or weight decay, and frozen parameters.

An update runs over ranges of the flat buffers. All parameters of a range have the same settings, and none is frozen.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from gpunet.arguments import real
from gpunet.errors import ArgumentError
from gpunet.layers.store import FlatStore
from gpunet.schedules import ConstantLR, Schedule, learning_rate

Groups = Mapping[str, Mapping[str, float]]
"""Settings by the name of a parameter, or by a pattern of names."""

SETTINGS = "lr", "weight_decay"


def checked(optimizer: str, groups: Groups | None) -> Groups:
    """Return groups after a check of all settings."""
    where, groups = f"{optimizer}: groups", {} if groups is None else groups
    if not isinstance(groups, Mapping) or not all(isinstance(own, Mapping) for own in groups.values()):
        raise ArgumentError(
            f"{where} must map patterns to settings, as in {{'*.bias': {{'lr': 0.1}}}}, got {groups!r}."
        )
    for pattern, own in groups.items():
        if unknown := [setting for setting in own if setting not in SETTINGS]:
            raise ArgumentError(
                f"{where}: unknown setting {unknown[0]!r} of {pattern!r}; a group has {' and '.join(SETTINGS)}."
            )
    return {  # sorted, so that equal optimizers give equal files
        pattern: {name: _value(where, pattern, name, own[name]) for name in sorted(own)}
        for pattern, own in sorted(groups.items())
    }


def _value(where: str, pattern: str, setting: str, value: float) -> float:
    return real(f"{where}: {setting} of {pattern!r}", value, 0, closed="left")


class Part(NamedTuple):
    """A range of the flat buffers with the same settings.

    Attributes:
        rate: the index of its learning rate in `Parts.rates`.
        rule: the optimizer with the settings of the range.
    """

    where: slice
    rate: int
    rule: Any


class Parts:
    """The ranges that an optimizer updates.

    Raises:
        ArgumentError: a pattern matches nothing, or two patterns give a parameter the same setting.

    Attributes:
        span: the range from the first to the last of them; frozen parameters in it have zero gradients.
        rates: the base learning rates of the groups. The first is None, for the schedule's own rate.
    """

    def __init__(self, optimizer: Any, store: FlatStore):
        name = type(optimizer).__name__
        settings = _settings(name, checked(name, optimizer.groups), store.segments)
        self.rates = list(dict.fromkeys([None, *(own.get("lr") for own in settings.values())]))
        self.table(optimizer.schedule, range(0))  # raises for a schedule without an `lr`
        self.ranges: list[Part] = []
        for own, run in itertools.groupby(
            store.segments.items(), lambda item: None if item[1].layer._frozen else settings[item[0]]
        ):
            segments = [segment for _, segment in run]
            where = slice(segments[0].start, segments[-1].stop)
            if own is not None:
                self.ranges.append(Part(where, self.rates.index(own.get("lr")), _with(optimizer, own)))
        self.span = slice(self.ranges[0].where.start, self.ranges[-1].where.stop) if self.ranges else slice(0, 0)

    def table(self, schedule: Schedule, steps: range) -> list[list[float]]:
        """Return the learning rates of the steps, one list for each of `rates`."""
        own = [learning_rate(schedule, step) for step in steps]
        if self.rates == [None]:
            return [own]
        if isinstance(schedule, ConstantLR):
            factors = [1.0 for _ in steps]
        elif schedule.base_lr > 0:
            factors = [lr / schedule.base_lr for lr in own]
        else:
            raise ArgumentError(
                f"a schedule scales the learning rates of groups by its rate divided by its `lr`, and {schedule!r} has "
                "no `lr` above 0; give it one."
            )
        return [own if lr is None else [lr * factor for factor in factors] for lr in self.rates]


def _settings(optimizer: str, groups: Groups, names: Iterable[str]) -> dict[str, dict[str, float]]:
    """Return the group settings of each parameter."""
    settings: dict[str, dict[str, float]] = {name: {} for name in names}
    by_pattern: dict[tuple[str, str], str] = {}
    exact = {name: own for name, own in groups.items() if name in settings}
    for pattern, own in groups.items():
        if pattern in exact:
            continue
        matched = [name for name in settings if fnmatchcase(name, pattern)]
        if not matched:
            raise ArgumentError(
                f"{optimizer}: groups: {pattern!r} matches no parameter; there are {', '.join(settings) or 'none'}."
            )
        for name in matched:
            for setting in own.keys() - exact.get(name, {}).keys():
                other = by_pattern.setdefault((name, setting), pattern)
                if other != pattern:
                    raise ArgumentError(
                        f"{optimizer}: groups: {other!r} and {pattern!r} both set the {setting} of {name}; add a group "
                        f"{name!r}, which takes precedence over patterns."
                    )
            settings[name] |= own
    for name, own in exact.items():
        settings[name] |= own
    return settings


def _with(optimizer: Any, settings: Mapping[str, float]) -> Any:
    """Return a copy of the optimizer with these settings, or the optimizer itself if none differs."""
    own = {name: value for name, value in settings.items() if name != "lr"}
    if not own:
        return optimizer
    twin = object.__new__(type(optimizer))  # copy.copy would make a new counter
    vars(twin).update(vars(optimizer), **own)
    return twin
