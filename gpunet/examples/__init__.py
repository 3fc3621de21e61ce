"""One runnable file a task: `python -m gpunet.examples.NAME`."""
