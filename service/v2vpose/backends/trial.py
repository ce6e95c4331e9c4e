"""Which OpenVINO precision is faster, tried in this process: `python -m` with shape and threads."""

import sys

from v2vpose.backends.choice import NetShape, faster_openvino

if __name__ == "__main__":
    *shape, threads = map(int, sys.argv[1:])
    sys.stdout.write(faster_openvino(NetShape(*shape), threads) + "\n")
