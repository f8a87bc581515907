"""Answer requests of one JSON object a line: what a batch transform with MultiRecord sends."""

import json


def input_fn(data, content_type):
    """The inputs of all lines, for one call of the pipeline."""
    text = data if isinstance(data, str) else bytes(data).decode("utf-8")
    return {"inputs": [json.loads(line)["inputs"] for line in text.splitlines() if line]}


def output_fn(prediction, accept):
    """One line of JSON for each line that was asked."""
    return "\n".join(json.dumps(answer) for answer in prediction)
