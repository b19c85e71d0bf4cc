"""Summarises HDF5 files with h5py: serially, and by the workers of a multiprocessing.Pool.

    python3 summary.py ROUNDS FILE...

Prints the shortest time of each in seconds, then minimum, maximum and sum of each file.
"""
import multiprocessing
import sys
import time

try:
    import h5py
except ImportError:
    print("no h5py")
    sys.exit()


def summary(path):
    with h5py.File(path) as file:
        values = file["values"][:]
    return float(values.min()), float(values.max()), float(values.sum())


def shortest(rounds, work):
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - begun)
    return min(times), result


if __name__ == "__main__":
    rounds, paths = int(sys.argv[1]), sys.argv[2:]
    serial, expected = shortest(rounds, lambda: [summary(path) for path in paths])
    with multiprocessing.Pool(2) as pool:
        processes, found = shortest(rounds, lambda: pool.map(summary, paths, chunksize=1))
    assert found == expected
    print(serial, processes)
    for numbers in found:
        print(*map(repr, numbers))
