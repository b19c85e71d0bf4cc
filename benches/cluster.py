"""The same work through Dask's own Python client, on the cluster whose address is the argument. Prints milliseconds, or items a second."""

import statistics
import sys
import time

from distributed import Client


def nothing(x):
    return x


def batch(xs):
    return [x * x for x in xs]


def nap(milliseconds):
    time.sleep(milliseconds / 1000)


if __name__ == "__main__":
    client = Client(sys.argv[1])

    def call():
        begun = time.perf_counter()
        client.submit(nothing, 1, pure=False).result()
        return (time.perf_counter() - begun) * 1e3

    [call() for _ in range(20)]
    print("call", statistics.median(call() for _ in range(100)))

    # As people pack them by hand.
    begun = time.perf_counter()
    chunks = [range(first, first + 10_000) for first in range(0, 1_000_000, 10_000)]
    total = sum(len(squares) for squares in client.gather(client.map(batch, chunks, pure=False)))
    print("map", total / (time.perf_counter() - begun))

    begun = time.perf_counter()
    client.gather(client.map(nap, [10] * 400, pure=False))
    print("naps", (time.perf_counter() - begun) * 1e3)

    begun = time.perf_counter()
    tasks = client.map(nothing, range(2_000), pure=False)
    client.gather(tasks)
    print("tasks", 2_000 / (time.perf_counter() - begun))
