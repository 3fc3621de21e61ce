"""`gpunet export`: write a trained model as an ONNX file."""

from __future__ import annotations

from pathlib import Path

import click

from gpunet.cli.run import check_output, open_model
from gpunet.cli.use import model_argument
from gpunet.errors import ArgumentError
from gpunet.interop import to_onnx


@click.command()
@model_argument
@click.argument("out", metavar="OUT.onnx", type=click.Path(path_type=Path))
def export(model_path: Path, out: Path) -> None:
    """Write a trained model as the ONNX file OUT.onnx, which runs without gpunet.

    RUN_OR_MODEL is a run's folder or a model file. The ONNX model's input "X" is float32 and not standardised; its
    outputs are "prediction" and, for classifiers, "probabilities". If the model was trained on a table, X is float64
    and holds encoded features (one-hot categories, dates as three numbers; `model.schema.encode`); the metadata
    "features" lists their names in order, and "schema" describes the encoding.
    """
    if out.suffix.lower() != ".onnx":
        raise ArgumentError(f"{out}: use a file name that ends in .onnx.")
    check_output(out, model_path)
    to_onnx(open_model(model_path, "cpu"), out)
