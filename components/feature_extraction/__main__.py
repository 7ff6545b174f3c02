"""Command line of the feature_extraction step."""

import sys

from components.feature_extraction.spec import FeatureExtraction
from components.interchange.cli import main

sys.exit(main(FeatureExtraction))
