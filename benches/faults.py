"""The faults of faults.rs in Python's two pools, as good as their documentation allows."""

import ctypes
import os
import resource
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import Pool


class Value:
    def __init__(self, x):
        self.x = x

    def __reduce__(self):
        if self.x == 1000:
            raise RuntimeError("it does not want to leave")
        return (arrive, (self.x,))


def arrive(x):
    if x == 1001:
        raise RuntimeError("it does not want to arrive")
    return Value(x)


def work(kind, x):
    time.sleep(0.002)
    if kind == "panic":
        raise RuntimeError("on purpose")
    if kind == "SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "SIGSEGV":
        ctypes.string_at(0)
    if kind == "abort":
        os.abort()
    if kind == "exit(0)":
        sys.exit(0)
    if kind == "exit(3)":
        sys.exit(3)
    if kind == "_exit":
        os._exit(4)
    if kind == "stack overflow":
        sys.setrecursionlimit(10**9)

        def down():
            return sorted([1, 2], key=lambda _: down())

        down()
    if kind == "endless loop":
        while True:
            pass
    if kind == "SIGSTOP":
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(3600)
    if kind == "out of memory":
        # Neither pool has a limit; this is what the documentation of `resource` gives.
        resource.setrlimit(resource.RLIMIT_DATA, (256 << 20, 256 << 20))
        bytearray(1 << 30)
    if kind == "close all fds":
        os.closerange(0, 1024)
        time.sleep(3600)
    if kind == "not encoded":
        return Value(1000)
    if kind == "not decoded":
        return Value(1001)
    return Value(x)


def report(results, errors, begun, usable):
    state = "works" if usable else "unusable"
    print(f"{results} + {errors}, {(time.monotonic() - begun) * 1e3:.0f} ms, {state}", flush=True)


def collect(get, count):
    results = errors = 0
    for index in range(count):
        try:
            get(index)
            results += 1
        except BaseException:
            errors += 1
    return results, errors


def main(system, kind):
    items = [(kind if x == 5 else "", x) for x in range(12)]
    begun = time.monotonic()
    if system == "multiprocessing.Pool":
        pool = Pool(2)
        tasks = [pool.apply_async(work, item) for item in items]
        # Without a time limit `get` would never return for a task whose worker died.
        results, errors = collect(lambda index: tasks[index].get(timeout=3), 12)
        again = [pool.apply_async(work, ("", x)) for x in range(12)]
        usable = collect(lambda index: again[index].get(timeout=2), 12)[0] == 12
    else:
        pool = ProcessPoolExecutor(2)
        tasks = [pool.submit(work, *item) for item in items]
        results, errors = collect(lambda index: tasks[index].result(timeout=3), 12)
        try:
            again = [pool.submit(work, "", x) for x in range(12)]
            usable = collect(lambda index: again[index].result(timeout=2), 12)[0] == 12
        except Exception:
            usable = False
    report(results, errors, begun, usable)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
