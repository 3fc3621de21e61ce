"""Examples, one runnable file per task: `python -m gpunet.examples.NAME`; `python -m gpunet.examples` lists them."""
