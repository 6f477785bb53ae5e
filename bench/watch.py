"""``python -m bench.watch URL``: asks it fifty times a second, and prints the seconds that each answer took.

A process of its own: what is measured must not wait for what makes the load.
"""

import http.client
import sys
import time
from urllib.parse import urlsplit

_PAUSE = 0.02


def main() -> None:
    url = urlsplit(sys.argv[1])
    connection = http.client.HTTPConnection(url.hostname or "", url.port or 80)
    while True:
        asked = time.perf_counter()
        connection.request("GET", url.path)
        answer = connection.getresponse()
        answer.read()
        print(time.perf_counter() - asked if answer.status == 200 else float("inf"), flush=True)
        time.sleep(_PAUSE)


if __name__ == "__main__":
    main()
