"""The sections of `examples/article` with Python's standard library.

    python3 examples/python/article.py                    # all of them: three minutes, and 12 GB of memory
    python3 examples/python/article.py --quick            # twenty seconds
    python3 examples/python/article.py --json value list  # some sections, a line of JSON for each row

Each section is a generator of rows: what it shows, serial time, parallel time in seconds, and more where there is more to tell. Pools
are started within the parallel time, as in `with Pool(4) as pool:`.
"""
import array
import asyncio
import itertools
import json
import multiprocessing as mp
import os
import resource
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from multiprocessing import shared_memory

QUICK = "--quick" in sys.argv


def scale(full, quick):
    return quick if QUICK else full


def timed(work):
    begun = time.perf_counter()
    result = work()
    return result, time.perf_counter() - begun


def increments(times):
    counter = 0
    for _ in range(times):
        counter += 1
    return counter


def row(shows, serial=None, parallel=None, right=True, **more):
    if not right:
        raise SystemExit(f"{shows}: wrong")
    return {"shows": shows, "serial": serial, "parallel": parallel, **more}


# Starting.


def nap(milliseconds):
    time.sleep(milliseconds / 1000)
    return milliseconds


def start_and_join(kind, function, arguments):
    started = [kind(target=function, args=each) for each in arguments]
    for each in started:
        each.start()
    for each in started:
        each.join()


def threads():
    state, naps = 2026, []
    for _ in range(5):
        state = (state * 1_103_515_245 + 12_345) % (1 << 32)
        naps.append(scale(100, 20) + (state >> 16) % scale(400, 80))
    _, serial = timed(lambda: [nap(each) for each in naps])
    _, parallel = timed(lambda: start_and_join(threading.Thread, nap, [(each,) for each in naps]))
    yield row("5 threads, random sleeps, joined", serial, parallel)


def thread_pool():
    naps = [scale(100, 10) + task % 3 for task in range(20)]
    _, serial = timed(lambda: [nap(each) for each in naps])

    def pooled():
        with ThreadPoolExecutor(4) as pool:
            return [future.result() for future in as_completed([pool.submit(nap, each) for each in naps])]

    slept, parallel = timed(pooled)
    yield row("pool of 4 threads, 20 sleeping tasks", serial, parallel, sorted(slept) == sorted(naps))


def processes():
    times = scale(10_000_000, 5_000_000)
    _, serial = timed(lambda: [increments(times) for _ in range(10)])
    _, parallel = timed(lambda: start_and_join(mp.Process, increments, [(times,)] * 10))
    yield row(f"10 processes, {times} increments each", serial, parallel, note=f"an increment takes {serial / times * 1e8:.1f} ns")


def cpu_count():
    yield row(f"CPU count: {os.cpu_count()}")


def wait_for_kill():
    time.sleep(600)


def square(x):
    return x * x


def too_many():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    crowd, told = [], "nothing"
    try:
        while len(crowd) < 1000:
            process = mp.Process(target=wait_for_kill)
            process.start()
            crowd.append(process)
    except OSError as error:
        told = f"{type(error).__name__}: {error}"
    for process in crowd:
        process.kill()
        process.join()
        process.close()

    def pooled():
        with mp.Pool(4) as pool:
            return pool.map(square, range(1000))

    squares, parallel = timed(pooled)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    right = squares == [x * x for x in range(1000)]
    yield row("too many processes; 1000 tasks on a pool", None, parallel, right, note=f"process {len(crowd)}: {told}")


# Results.


def count_into(results, number, times):
    results[number] = increments(times)


def dictionary():
    times = scale(10_000_000, 5_000_000)
    alone = {}
    _, serial = timed(lambda: [count_into(alone, number, times) for number in range(10)])

    def shared():
        with mp.Manager() as manager:
            results = manager.dict()
            start_and_join(mp.Process, count_into, [(results, number, times) for number in range(10)])
            return dict(results)

    results, parallel = timed(shared)
    yield row("10 processes, results in a shared dict", serial, parallel, results == alone)


def hundred(start):
    return start + increments(100)


def million():
    items = range(scale(1_000_000, 200_000))
    plain, serial = timed(lambda: [hundred(item) for item in items])

    def pooled():
        with mp.Pool() as pool:
            return pool.map(hundred, items)

    mapped, parallel = timed(pooled)
    yield row(f"process pool, {len(items)} tasks of 100 increments", serial, parallel, mapped == plain)


def late(item, milliseconds):
    time.sleep(milliseconds / 1000)
    return item


def late_item(item):
    return late(*item)


def ordered():
    count = scale(40, 20)
    items = [(item, (count - item) // 2) for item in range(count)]
    _, serial = timed(lambda: [late(*item) for item in items])

    def in_order():
        with mp.Pool(4) as pool:
            return pool.map(late_item, items, chunksize=1)

    def as_they_end():
        with mp.Pool(4) as pool:
            return list(pool.imap_unordered(late_item, items))

    mapped, parallel = timed(in_order)
    yield row("ordered results: map", serial, parallel, mapped == list(range(count)))
    ended, parallel = timed(as_they_end)
    yield row("as they end: imap_unordered", serial, parallel, sorted(ended) == list(range(count)))


def map_async():
    nap = scale(20, 5)
    items = [(item, nap) for item in range(40)]
    _, serial = timed(lambda: [late(*item) for item in items])

    def both():
        with mp.Pool(4) as pool:
            one = pool.map_async(late_item, items[:20], chunksize=1)
            other = pool.map_async(late_item, items[20:], chunksize=1)
            return one.get() + other.get()

    results, parallel = timed(both)
    yield row("two map_async of 20 on a pool of 4", serial, parallel, results == list(range(40)))


def power(base, exponent):
    product = 1
    for _ in range(exponent):
        product = product * base % 1_000_000_007
    return product


def starmap():
    items = [(base, 10_000) for base in range(scale(2_000, 400))]
    plain, serial = timed(lambda: list(itertools.starmap(power, items)))

    def pooled():
        with mp.Pool() as pool:
            return pool.starmap(power, items)

    mapped, parallel = timed(pooled)
    yield row("starmap: power(base, exponent)", serial, parallel, mapped == plain)


def one_word():
    times = scale(10_000_000, 5_000_000)
    _, serial = timed(lambda: [increments(times) for _ in range(8)])
    for kind in (ThreadPoolExecutor, ProcessPoolExecutor):

        def pooled():
            with kind(4) as pool:
                return list(pool.map(increments, [times] * 8))

        counted, parallel = timed(pooled)
        yield row(f"8 counts on 4 workers, {kind.__name__}", serial, parallel, counted == [times] * 8)


# Sharing.


def memory_of_all():
    """Bytes of this process and its children, each with its part of what is shared."""
    me = os.getpid()
    pids = [me]
    for thread in os.listdir(f"/proc/{me}/task"):
        try:
            with open(f"/proc/{me}/task/{thread}/children") as children:
                pids += [int(pid) for pid in children.read().split()]
        except OSError:
            pass
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as rollup:
                total += sum(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:"))
        except OSError:
            pass
    return total


def peak_of(work):
    peak, over = 0, threading.Event()

    def watch():
        nonlocal peak
        while not over.wait(0.02):
            peak = max(peak, memory_of_all())

    watcher = threading.Thread(target=watch)
    watcher.start()
    work()
    over.set()
    watcher.join()
    return max(peak, memory_of_all())


def double(number):
    return number * 2


def double_part(name, start, end):
    memory = shared_memory.SharedMemory(name=name)
    numbers = memory.buf.cast("q")
    for index in range(start, end):
        numbers[index] *= 2
    numbers.release()
    memory.close()


def doubled_in_place(count):
    numbers = list(range(count))

    def work():
        for index in range(count):
            numbers[index] *= 2

    _, elapsed = timed(work)
    return elapsed, numbers[-1] == 2 * (count - 1)


def doubled_by_copy(count):
    numbers = list(range(count))

    def work():
        with mp.Pool(2) as pool:
            return pool.map(double, numbers)

    result, elapsed = timed(work)
    return elapsed, result[-1] == 2 * (count - 1)


def doubled_in_shared_memory(count):
    memory = shared_memory.SharedMemory(create=True, size=count * 8)
    numbers = memory.buf.cast("q")
    numbers[:] = array.array("q", range(count))
    parts = [(memory.name, 0, count // 2), (memory.name, count // 2, count)]
    _, elapsed = timed(lambda: start_and_join(mp.Process, double_part, parts))
    right = numbers[count - 1] == 2 * (count - 1)
    numbers.release()
    memory.close()
    memory.unlink()
    return elapsed, right


def in_a_process(function, argument, watched):
    """In a process of its own, so that none has memory left from another."""
    ours, theirs = mp.Pipe()

    def run():
        try:
            if watched:
                theirs.send(peak_of(lambda: function(argument)))
            else:
                theirs.send(function(argument))
        finally:
            theirs.close()

    process = mp.Process(target=run)
    process.start()
    theirs.close()
    result = ours.recv()
    process.join()
    return result


def list_doubled():
    count = scale(100_000_000, 4_000_000)
    ways = [
        (f"{count} integers doubled in place, serial", doubled_in_place),
        ("by copy, 2 processes", doubled_by_copy),
        ("in shared memory, 2 processes", doubled_in_shared_memory),
    ]
    serial = None
    for name, way in ways:
        elapsed, right = in_a_process(way, count, watched=False)
        peak = in_a_process(way, count, watched=True)
        parallel = None if serial is None else elapsed
        serial = serial or elapsed
        yield row(name, serial, parallel, right, peak=peak)


def increment(counter, times):
    for _ in range(times):
        with counter.get_lock():
            counter.value += 1


def value():
    times = scale(100_000, 20_000)
    alone = mp.Value("Q", 0)
    _, serial = timed(lambda: [increment(alone, times) for _ in range(10)])
    counter = mp.Value("Q", 0)
    _, parallel = timed(lambda: start_and_join(mp.Process, increment, [(counter, times)] * 10))
    yield row(f"Value: 10 processes, {times} increments each", serial, parallel, counter.value == 10 * times)


def write_at(shared, index, number):
    shared[index] = number


def array_written():
    count = scale(20_000_000, 2_000_000)
    places = [(0, 1), (count // 2, 2), (count - 1, 3)]

    def alone():
        shared = mp.Array("i", count)
        for index, number in places:
            write_at(shared, index, number)

    def together():
        shared = mp.Array("i", count)
        start_and_join(mp.Process, write_at, [(shared, index, number) for index, number in places])
        return [shared[index] for index, _ in places]

    _, serial = timed(alone)
    written, parallel = timed(together)
    yield row(f"Array of {count}, 3 processes write", serial, parallel, written == [1, 2, 3])


def normalise(numbers, columns, start, end):
    for first in range(start * columns, end * columns, columns):
        norm = sum(numbers[index] ** 2 for index in range(first, first + columns)) ** 0.5
        for index in range(first, first + columns):
            numbers[index] /= norm


def normalise_part(name, columns, start, end):
    memory = shared_memory.SharedMemory(name=name)
    numbers = memory.buf.cast("d")
    normalise(numbers, columns, start, end)
    numbers.release()
    memory.close()


def arrays():
    rows, columns = scale(4_000, 1_000), 1_000
    alone = array.array("d", (index % 1009 + 1.0 for index in range(rows * columns)))
    memory = shared_memory.SharedMemory(create=True, size=len(alone) * 8)
    numbers = memory.buf.cast("d")
    numbers[: len(alone)] = alone
    _, serial = timed(lambda: normalise(alone, columns, 0, rows))
    parts = [(memory.name, columns, start, start + rows // 2) for start in (0, rows // 2)]
    _, parallel = timed(lambda: start_and_join(mp.Process, normalise_part, parts))
    right = all(numbers[index] == alone[index] for index in range(0, len(alone), 997))
    numbers.release()
    memory.close()
    memory.unlink()
    yield row(f"array {rows} x {columns}, rows normalised", serial, parallel, right)


def sums_by_city(cities, prices, start, end):
    sums = [0.0] * 8
    for index in range(start, end):
        sums[cities[index]] += prices[index]
    return sums


def sums_of_part(part):
    names, start, end = part
    city, price = (shared_memory.SharedMemory(name=name) for name in names)
    cities, prices = city.buf, price.buf.cast("d")
    sums = sums_by_city(cities, prices, start, end)
    del cities
    prices.release()
    city.close()
    price.close()
    return sums


def frames():
    rows = scale(4_000_000, 400_000)
    city = shared_memory.SharedMemory(create=True, size=rows)
    price = shared_memory.SharedMemory(create=True, size=rows * 8)
    city.buf[:rows] = bytes(number * 7 % 8 for number in range(rows))
    prices = price.buf.cast("d")
    prices[:rows] = array.array("d", (float(number % 1000) for number in range(rows)))
    plain, serial = timed(lambda: sums_by_city(city.buf, prices, 0, rows))
    parts = [((city.name, price.name), start, start + rows // 16) for start in range(0, rows, rows // 16)]

    def pooled():
        with mp.Pool(2) as pool:
            return [sum(sums) for sums in zip(*pool.map(sums_of_part, parts))]

    grouped, parallel = timed(pooled)
    prices.release()
    for memory in (city, price):
        memory.close()
        memory.unlink()
    yield row(f"frame of {rows} rows, grouped", serial, parallel, grouped == plain)


# Waiting.


async def late_async(item, milliseconds):
    await asyncio.sleep(milliseconds / 1000)
    return item


def asynchronous():
    count, nap = scale(10_000, 2_000), scale(500, 100)

    async def gather():
        return await asyncio.gather(*(late_async(item, nap) for item in range(count)))

    results, parallel = timed(lambda: asyncio.run(gather()))
    yield row(f"{count} async sleeps, one thread", count * nap / 1000, parallel, results == list(range(count)))


SECTIONS = {
    "threads": threads,
    "thread-pool": thread_pool,
    "processes": processes,
    "dictionary": dictionary,
    "million": million,
    "ordered": ordered,
    "map-async": map_async,
    "starmap": starmap,
    "one-word": one_word,
    "cpu-count": cpu_count,
    "too-many": too_many,
    "list": list_doubled,
    "value": value,
    "array": array_written,
    "arrays": arrays,
    "frames": frames,
    "async": asynchronous,
}


def main():
    wanted = [word for word in sys.argv[1:] if not word.startswith("--")]
    unknown = [word for word in wanted if word not in SECTIONS]
    if unknown:
        raise SystemExit(f"not known: {', '.join(unknown)}; sections: {', '.join(SECTIONS)}")
    for name in wanted or SECTIONS:
        for each in SECTIONS[name]():
            if "--json" in sys.argv:
                print(json.dumps(each), flush=True)
            else:
                show = lambda seconds: "-" if seconds is None else f"{seconds:.4f} s"
                peak = f"  peak {each['peak'] / 1e9:.2f} GB" if each.get("peak") else ""
                note = f"  {each['note']}" if each.get("note") else ""
                print(f"{name:<12}{each['shows']:<48}{show(each['serial']):>12}{show(each['parallel']):>12}{peak}{note}", flush=True)


if __name__ == "__main__":
    # Until Python 3.14 this is what Linux does anyway; arguments that cannot be pickled are passed by it.
    mp.set_start_method("fork")
    main()
