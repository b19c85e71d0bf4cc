"""What Python takes for what `streams.rs` measures. Prints seconds for each task."""
import concurrent.futures
import multiprocessing
import sys
import time


def nothing(x):
    return x


def main(what):
    if what == "as_completed":
        count = 20_000
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            begun = time.perf_counter()
            tasks = [pool.submit(nothing, x) for x in range(count)]
            for task in concurrent.futures.as_completed(tasks):
                task.result()
            print((time.perf_counter() - begun) / count)
    elif what == "imap":
        count = 50_000
        with multiprocessing.Pool(2) as pool:
            begun = time.perf_counter()
            for _ in pool.imap(nothing, range(count)):
                pass
            print((time.perf_counter() - begun) / count)


if __name__ == "__main__":
    main(sys.argv[1])
