"""A server that is stopped by a line on its console, as games' servers are; TERM ends it before it has saved."""

import pathlib
import sys
import time

pathlib.Path("/mnt/ready").touch()
for line in sys.stdin:
    if line.strip() == "stop":
        time.sleep(3)
        print("well: saved", flush=True)
        sys.exit(0)
# Nobody is at the console.
while True:
    time.sleep(1000)
