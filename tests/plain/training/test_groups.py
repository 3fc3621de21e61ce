"""Parameter groups: a separate learning rate and weight decay for the parameters that a pattern matches."""

import grouped_trainings as grouped
import numpy as np
import pytest
from own_optimizers import Lion
from problems import classification, weights

import gpunet as gn

X, Y = classification(32)

EXECUTORS = "eager", "numpy"


def net():
    return gn.MLP([5, 8, 3], seed=0)


def trained(optimizer, executor="numpy", steps=6):
    trainer = gn.Trainer(net(), optimizer=optimizer, executor=executor)
    for _ in range(steps):
        trainer.step(X, Y)
    return trainer.model


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("name", grouped.CASES)
def test_a_training_follows_pytorch(name, executor):
    grouped.assert_follows_pytorch(name, executor)


@pytest.mark.parametrize("name", grouped.CASES)
def test_many_steps_in_one_call_equal_single_steps_bitwise(name):
    grouped.assert_single_steps_give_the_same_bits(name, "numpy")


@pytest.mark.parametrize("name", grouped.CASES)
def test_an_interrupted_training_resumes_bitwise(name, tmp_path):
    grouped.assert_a_resumed_training_gives_the_same_bits(name, tmp_path, "numpy")


@pytest.mark.parametrize("make", [gn.SGD, gn.Adam, gn.AdamW, gn.RMSprop])
def test_groups_with_the_optimizers_own_settings_change_nothing(make):
    groups = {"*.weight": {"lr": 0.01}, "*.bias": {"weight_decay": 0.1}, "0.bias": {"lr": 0.01, "weight_decay": 0.1}}
    plain, split = (trained(make(0.01, weight_decay=0.1, groups=given)) for given in (None, groups))
    np.testing.assert_array_equal(weights(plain), weights(split))


def test_a_name_takes_precedence_over_patterns():
    optimizer = gn.SGD(0.1, groups={"*": {"lr": 0}, "1.bias": {"lr": 0.1}})
    before, after = net().parameters(), trained(optimizer).parameters()
    changed = [name for name in before if not np.array_equal(before[name], after[name])]
    assert changed == ["1.bias"]


def test_a_group_without_a_setting_uses_that_of_the_optimizer():
    both = gn.SGD(0.1, weight_decay=0.2, groups={"0.*": {"lr": 0.05}})
    said = gn.SGD(0.3, groups={"0.*": {"lr": 0.05, "weight_decay": 0.2}, "1.*": {"lr": 0.1, "weight_decay": 0.2}})
    np.testing.assert_array_equal(*(weights(trained(optimizer)) for optimizer in (both, said)))


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_schedule_scales_the_rates_of_groups_like_the_optimizers_rate(executor):
    warm = gn.LinearWarmup(gn.CosineLR(0.1, 5), 3)
    groups = {"0.*": {"lr": 0.02}}
    model = trained(gn.SGD(warm, groups=groups), executor)
    expected = net()
    trainer = gn.Trainer(expected, optimizer=gn.SGD(0.1), executor="eager")
    for step in range(6):
        trainer.optimizer.lr = warm(step)
        trainer.optimizer.groups = {"0.*": {"lr": warm(step) * 0.02 / 0.1}}
        trainer.step(X, Y)
    np.testing.assert_allclose(weights(model), weights(expected), rtol=0, atol=1e-7)


def test_setting_the_rate_does_not_change_those_of_groups():
    optimizer = gn.SGD(0.5, groups={"0.*": {"lr": 0.05}})
    optimizer.lr = 0.1
    other = gn.SGD(0.1, groups={"0.*": {"lr": 0.05}})
    np.testing.assert_array_equal(*(weights(trained(each)) for each in (optimizer, other)))


@pytest.mark.parametrize("executor", EXECUTORS)
def test_an_optimizer_in_array_code_has_groups_too(executor):
    decayed, kept = Lion(0.01, weight_decay=0.5), Lion(0.01)
    decayed.groups = {"*": {"weight_decay": 0}}
    np.testing.assert_array_equal(*(weights(trained(each, executor)) for each in (decayed, kept)))


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_change_of_groups_takes_effect_at_the_next_step(executor):
    trainer = gn.Trainer(net(), optimizer=gn.SGD(0.1, momentum=0.9), executor=executor)
    trainer.step(X, Y)
    trainer.optimizer.groups = {"0.*": {"lr": 0}}
    lower, upper = (trainer.model[place].params["weight"].copy() for place in (0, 1))
    trainer.step(X, Y)
    np.testing.assert_array_equal(trainer.model[0].params["weight"], lower)
    assert not np.array_equal(trainer.model[1].params["weight"], upper)
    assert trainer.optimizer.steps == 2


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"2.*": {"lr": 0.1}}, r"'2\.\*' matches no parameter; there are 0.weight, 0.bias, 1.weight, 1.bias"),
        (
            {"*.bias": {"lr": 0.1}, "0.*": {"lr": 1, "weight_decay": 0}},
            r"'\*\.bias' and '0\.\*' both set the lr of 0.bias",
        ),
        ({"0.*": {"momentum": 0.1}}, r"unknown setting 'momentum' of '0\.\*'; a group has lr and weight_decay"),
        ({"0.*": {"lr": -1}}, r"lr of '0\.\*' must lie in"),
        ({"0.*": 0.1}, "must map patterns to settings"),
        ([("0.*", 0.1)], "must map patterns to settings"),
    ],
)
def test_invalid_groups_are_refused_before_the_first_step(groups, message):
    model = net()
    with pytest.raises(gn.errors.ArgumentError, match=message):
        gn.Trainer(model, optimizer=gn.SGD(0.1, groups=groups)).fit(X, Y, epochs=1)
    np.testing.assert_array_equal(weights(model), weights(net()))
    gn.Trainer(model).fit(X, Y, epochs=1)


def test_bad_groups_between_steps_leave_a_trainer_that_can_be_used():
    trainer = gn.Trainer(net(), optimizer=gn.SGD(0.1))
    trainer.fit(X, Y, epochs=1)
    before = weights(trainer.model)
    trainer.optimizer.groups = {"7.*": {"lr": 0.1}}
    with pytest.raises(gn.errors.ArgumentError, match="matches no parameter"):
        trainer.fit(X, Y, epochs=1)
    np.testing.assert_array_equal(weights(trainer.model), before)
    trainer.optimizer.groups = None
    trainer.fit(X, Y, epochs=1)
    assert len(trainer.history) == 2


def test_overlapping_patterns_with_different_settings_do_not_conflict():
    trained(gn.SGD(0.1, groups={"*.bias": {"weight_decay": 0.1}, "0.*": {"lr": 0.1}}))


def test_a_schedule_without_lr_is_an_error_if_a_group_has_a_rate():
    with pytest.raises(gn.errors.ArgumentError, match="has no `lr` above 0"):
        trained(gn.SGD(gn.StepLR(0, 5), groups={"0.*": {"lr": 0.1}}))
    trained(gn.SGD(gn.StepLR(0, 5), groups={"0.*": {"weight_decay": 0.1}}))
    trained(gn.SGD(0, groups={"0.*": {"lr": 0.1}}))


def test_clip_norm_uses_the_norm_over_all_groups():
    plain = trained(gn.SGD(0.1, clip_norm=0.1))
    split = trained(gn.SGD(0.3, clip_norm=0.1, groups={"0.*": {"lr": 0.1}, "1.*": {"lr": 0.1}}))
    np.testing.assert_array_equal(weights(plain), weights(split))
