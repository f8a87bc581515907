"""Teaches the downloads of 2021 to follow the Hub's redirects.

Since 2025 the Hub redirects to a path of its own for the small files of public models, and for
models that were renamed. huggingface_hub before 0.9 and Transformers before 4.22 take the path for
a whole address: https://github.com/huggingface/huggingface_hub/issues/3185. Runs once, while an
image is built, with that image's Python, 3.6 or later: python follow_redirects.py [SITE-PACKAGES]
"""

import os
import py_compile
import sys
import sysconfig
from pathlib import Path

FILES = ("huggingface_hub/file_download.py", "transformers/file_utils.py")
BEFORE = '            etag = r.headers.get("X-Linked-Etag") or r.headers.get("ETag")\n'
LOOP = """\
            while 300 <= r.status_code <= 399 and r.headers["Location"].startswith("/"):
                url_to_download = requests.compat.urljoin(url_to_download, r.headers["Location"])
                r = requests.head(
                    url_to_download,
                    headers=headers,
                    allow_redirects=False,
                    proxies=proxies,
                    timeout=etag_timeout,
                )
                r.raise_for_status()
"""


def main(packages):
    """Mend both files; the build ends if one is not as expected."""
    for path in (packages / name for name in FILES):
        code = path.read_text(encoding="utf-8")
        if code.count(BEFORE) != 1 or LOOP in code:
            sys.exit("{}: not the code that follow_redirects.py mends".format(path))
        made = path.stat().st_mtime
        path.write_text(code.replace(BEFORE, LOOP + BEFORE), encoding="utf-8")
        os.utime(str(path), (made, made))  # as all sources have it, and so their bytecode
        py_compile.compile(str(path), doraise=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if sys.argv[1:] else sysconfig.get_paths()["purelib"]))
