"""Ctrl-C within a native run of many steps stops it quickly, between two steps, and training can continue."""

import json
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.usefixtures("native_cpu")

SCRIPT = """
import json, signal, sys, time
import numpy as np
import gpunet as gn
from gpunet.training.step import Step

signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a parent ignored it
X = np.random.default_rng(0).standard_normal((40_000, 20)).astype(np.float32)
Y = np.arange(40_000) % 10
largest, real = [0], Step.run

def run(self, steps=1):
    largest[0] = max(largest[0], steps)
    real(self, steps)

Step.run = run

def make():
    return gn.Trainer(
        gn.MLP([20, 32, 10], dropout=0.1, seed=0), optimizer=gn.Adam(gn.CosineLR(1e-3, 10**6)), executor="native"
    )

one = make()
one.step(X[:20], Y[:20])  # compiled
one = make()
for _ in range(3):
    largest[0] = 0
    print("fitting", flush=True)
    one.fit(X, Y, epochs=1000, batch_size=20)
    ended = time.monotonic()
    print(json.dumps({"ended": ended, "stopped": one.history.stopped, "largest": largest[0],
                      "steps": one.optimizer.steps, "rows": one.epoch * len(X) + one.position}), flush=True)
one.save(sys.argv[1])
resumed = gn.Trainer.resume(sys.argv[1])

for trainer in (one, resumed):
    trainer.fit(X, Y, epochs=1, batch_size=20)  # the rest of the epoch
whole = make()
whole.fit(X, Y, epochs=one.epoch, batch_size=20)
same = all(
    np.array_equal(a, b)
    for trainer in (one, resumed)
    for a, b in zip([trainer.model.store.params, *trainer.model.store.slots.values()],
                    [whole.model.store.params, *whole.model.store.slots.values()])
)
losses = [trainer.history["loss"] == whole.history["loss"] for trainer in (one, resumed)]
print(json.dumps({"same": same, "losses": losses}), flush=True)
"""


def test_ctrl_c_stops_a_run_of_steps_within_a_tenth_of_a_second_at_a_step_from_which_the_training_resumes(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "training")], stdout=subprocess.PIPE, text=True
    )
    try:
        waited = []
        for _ in range(3):
            assert process.stdout.readline() == "fitting\n"
            time.sleep(0.4)
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            end = json.loads(process.stdout.readline())
            waited.append(end["ended"] - began)
            assert end["stopped"] == "interrupted"
            assert end["rows"] == 20 * end["steps"]
            assert end["largest"] > 100  # it was a run of many steps that the signal met
        assert min(waited) < 0.1  # the others may have waited for a processor
        assert json.loads(process.stdout.readline()) == {"same": True, "losses": [True, True]}
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
