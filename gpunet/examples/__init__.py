"""Recipes: one runnable file a task, as in `python -m gpunet.examples.class_weights`."""
