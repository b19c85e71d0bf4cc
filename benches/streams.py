"""What Python takes for what `streams.rs` measures. Prints seconds for each task."""
import asyncio
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
    elif what == "sleep":
        async def all_of_them():
            await asyncio.gather(*(asyncio.sleep(1) for _ in range(10_000)))

        begun = time.perf_counter()
        asyncio.run(all_of_them())
        print(time.perf_counter() - begun)


if __name__ == "__main__":
    main(sys.argv[1])
