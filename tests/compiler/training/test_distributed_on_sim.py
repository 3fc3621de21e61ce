"""Distributed training on the simulated GPU: two graphs per step, and the all-reduce between them."""

import json

import numpy as np
from problems import weights
from ranks import SAMPLE, TRAININGS, ranks_do


def test_two_ranks_on_sim_train_like_one_process(monkeypatch, tmp_path):
    monkeypatch.setenv("GPUNET_DEVICE", "sim")
    run = ranks_do(2, "sample", tmp_path)
    assert run.returncode == 0, run.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    for name in SAMPLE:
        trainer = TRAININGS[name](None)
        assert trainer.model.device.name == "sim"
        np.testing.assert_allclose(found[name]["weights"], weights(trainer.model), rtol=0, atol=1e-6, err_msg=name)
