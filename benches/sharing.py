"""What Python's multiprocessing takes for what `sharing.rs` measures. Prints seconds for each operation."""
import multiprocessing as mp
import sys
import time


def update(value, times):
    for _ in range(times):
        with value.get_lock():
            value.value += 1


def use_dict(shared, times, result):
    begun = time.perf_counter()
    for number in range(times):
        shared[number % 100] = number
        shared[number % 100]
    result.value = (time.perf_counter() - begun) / times


def consume(queue, result):
    queue.get()
    begun = time.perf_counter()
    count = 0
    while queue.get() is not None:
        count += 1
    result.value = (time.perf_counter() - begun) / count


def main(what):
    if what == "value":
        value, times = mp.Value("L", 0), 200_000
        workers = [mp.Process(target=update, args=(value, times)) for _ in range(2)]
        begun = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        print((time.perf_counter() - begun) / (2 * times))
    elif what == "dict":
        with mp.Manager() as manager:
            result = mp.Value("d", 0)
            shared = manager.dict()
            worker = mp.Process(target=use_dict, args=(shared, 5000, result))
            worker.start()
            worker.join()
            print(result.value)
    elif what == "queue":
        queue, result = mp.Queue(1000), mp.Value("d", 0)
        worker = mp.Process(target=consume, args=(queue, result))
        worker.start()
        for number in range(100_000):
            queue.put(number)
        queue.put(None)
        worker.join()
        print(result.value)


if __name__ == "__main__":
    main(sys.argv[1])
