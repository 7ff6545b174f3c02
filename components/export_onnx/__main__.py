"""Command line of the export_onnx step."""

import sys

from components.export_onnx.spec import ExportOnnx
from components.interchange.cli import main

sys.exit(main(ExportOnnx))
