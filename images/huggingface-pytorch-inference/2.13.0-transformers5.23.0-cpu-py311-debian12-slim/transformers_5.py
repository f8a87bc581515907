"""Teaches the last toolkit that is on the package index Transformers 5.

Transformers 5 has no TensorFlow any more, nor a function that says whether it is there; toolkit
2.6.0 asks that one first of all. Runs once, while an image is built, with that image's Python:
python transformers_5.py [SITE-PACKAGES]
"""

import os
import py_compile
import sys
import sysconfig
from pathlib import Path

FILE = "sagemaker_huggingface_inference_toolkit/transformers_utils.py"
BEFORE = "from transformers.file_utils import is_tf_available, is_torch_available\n"
AFTER = """\
from transformers.utils import is_torch_available


def is_tf_available():
    return False


"""


def main(packages):
    """Mend the file; the build ends if it is not as expected."""
    path = packages / FILE
    code = path.read_text(encoding="utf-8")
    if code.count(BEFORE) != 1:
        sys.exit("{}: not the code that transformers_5.py mends".format(path))
    made = path.stat().st_mtime
    path.write_text(code.replace(BEFORE, AFTER), encoding="utf-8")
    os.utime(str(path), (made, made))  # as all sources have it, and so their bytecode
    py_compile.compile(str(path), doraise=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if sys.argv[1:] else sysconfig.get_paths()["purelib"]))
