"""The longest Collatz sequences: work for the processor alone, in plain Python.

The Rust program embeds this file. Run as a program it does the same work serially and by a multiprocessing.Pool:

    python3 collatz.py ROUNDS START:STOP...

It prints the shortest time of each in seconds, then number and length for each range.
"""


def longest(start, stop):
    """The number in this range with the longest sequence, and the length of that."""
    best = (0, 0)
    for number in range(start, stop):
        steps, value = 1, number
        while value != 1:
            value = value // 2 if value % 2 == 0 else 3 * value + 1
            steps += 1
        if steps > best[1]:
            best = (number, steps)
    return best


def main(rounds, ranges):
    import multiprocessing
    import time

    def shortest(work):
        times = []
        for _ in range(rounds):
            begun = time.perf_counter()
            result = work()
            times.append(time.perf_counter() - begun)
        return min(times), result

    serial, expected = shortest(lambda: [longest(*bounds) for bounds in ranges])
    with multiprocessing.Pool(2) as pool:
        processes, found = shortest(lambda: pool.starmap(longest, ranges, chunksize=1))
    assert found == expected
    print(serial, processes)
    for number, steps in found:
        print(number, steps)


if __name__ == "__main__":
    import sys

    main(int(sys.argv[1]), [tuple(map(int, bounds.split(":"))) for bounds in sys.argv[2:]])
