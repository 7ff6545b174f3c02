"""Why onnxruntime refused a model file, in words. It raises a class of its own for every status code."""

import re

# What onnxruntime says, what that means, and what to do; the first that fits.
MEANINGS = (
    (
        r"escapes model directory|Absolute path not allowed",
        "it names weights outside its own folder, where nothing is read ({said})",
        "The file was altered; export it again",
    ),
    (
        r"External data.*does not exist|External data.*file size",
        "the weights that belong beside it are not there, or are cut off ({said})",
        "Was it copied whole? Otherwise export it again",
    ),
    (
        r"Opset (?P<found>\d+) is under development.*ai\.onnx is till opset (?P<known>\d+)",
        "it is of opset {found}, this onnxruntime knows 1 to {known}",
        "Export it with --opset {known} or lower, or install a newer onnxruntime",
    ),
    (
        r"Unsupported model IR version: (?P<found>\d+), max supported IR version: (?P<known>\d+)",
        "it is of ONNX format version {found}, this onnxruntime knows 1 to {known}",
        "Install a newer onnxruntime, or export it again with an older onnx",
    ),
    (
        r"Protobuf parsing failed|No graph was found",
        "it is no ONNX model, or is cut off",
        "Was it copied whole? Otherwise export it again",
    ),
    (
        r"INVALID_GRAPH|No Op registered",
        "it has an operator that is invalid in the opset that it names ({said})",
        "The file was altered, or this onnxruntime is too old for it",
    ),
)
CODE, PLACE = r"\[ONNXRuntimeError\] : \d+ : \w+ : ", r"/\S+\.(?:h|cc):\d+ .*?\) (?=[A-Z])|\w+\.cc:\d+ \w+ "
NOISE = rf"{CODE}|Load model from \S+ failed:|{PLACE}"


def meaning(error: Exception) -> str:
    """One line: what is wrong, and what to do; onnxruntime's own words where they tell more or none are known."""
    for pattern, means, remedy in MEANINGS:
        if match := re.search(pattern, str(error), re.DOTALL):
            parts = {**match.groupdict(), "said": own_words(error)}
            return f"{means.format(**parts)}. {remedy.format(**parts)}."
    return f"{own_words(error)}. Was it copied whole? Otherwise export it again."


def own_words(error: Exception) -> str:
    """What onnxruntime says, in one line, without status codes and places in its source."""
    said = re.sub(NOISE, "", " ".join(str(error).split())) or type(error).__name__
    return said.rstrip(". ")
