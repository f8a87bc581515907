"""A host that nobody may ask: `python fuzz_host.py PORT ...` prints a line for each connection.

The first line says that it listens. Runs inside an image, Python 3.6 or later.
"""

import json
import selectors
import socket
import sys
import typing


def main(ports: "typing.Sequence[str]") -> None:
    waiting = selectors.DefaultSelector()
    for port in ports:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("0.0.0.0", int(port)))  # noqa: S104 a network of its own
        listening.listen(100)
        waiting.register(listening, selectors.EVENT_READ, port)
    sys.stdout.write(json.dumps({"listens": list(ports)}) + "\n")
    sys.stdout.flush()
    while True:
        for key, _ in waiting.select():
            connection, address = typing.cast("socket.socket", key.fileobj).accept()
            connection.close()
            sys.stdout.write(json.dumps({"asked": key.data, "by": address[0]}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
