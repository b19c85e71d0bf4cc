"""What a program of parallel-runtime brings to the workers of a Dask cluster, and to its scheduler, which reads graphs.

On each worker a plugin keeps the program's executable, and runs it as a *node*: a process that runs submissions of calls on worker processes of
its own. Submissions and replies are bytes that only that executable reads. See `node.rs` for the other side of the pipes.

The module is loaded from its source, under a name that holds the source's hash: so programs of different releases do not meet.
"""

import asyncio
import collections
import concurrent.futures
import glob
import hashlib
import itertools
import os
import platform
import secrets
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import types

from distributed import SchedulerPlugin, WorkerPlugin, get_worker

# Set by the loader: `name`, `source`, `loader`.

HEAD = struct.Struct("<QB")
NUMBER = struct.Struct("<Q")
RUN, ASK, DROP = 1, 2, 3

# Questions: see `wire.rs`.
CANCEL, KILL, RUNNING, ALLOW = 0, 1, 2, 3

# Under this name the scheduler knows which calls are not to be begun, for workers that come later; and so many are remembered.
REFUSED = "parallel-refused"
REMEMBERED = 100_000

# A reply of so many bytes may stay here until it is asked for.
LARGE = 1 << 20

# How often a node that has died is started again for the same submission.
TRIES = 3

# How long an executable may take to say that it runs here, in seconds.
START = 60

SHM = "/dev/shm"


class Large(bytes):
    """A reply that may stay on the cluster."""


class Need(list):
    """Names of blobs that are missing on this machine."""


class NodeDied(Exception):
    """The node has died while it ran a submission."""


class Submission:
    """The bytes of a submission. The scheduler keeps the messages that it has sent, for developers: there the bytes go with the task."""

    def __init__(self, key, data):
        self.key = key
        self.data = data
        if HELD is not None:
            HELD[key] = self

    def __reduce__(self):
        return Submission, (self.key, self.data)


# On the scheduler: the submissions of its tasks.
HELD = None


class Forget(SchedulerPlugin):
    """On the scheduler: lets submissions go whose tasks are forgotten."""

    idempotent = True

    def __reduce__(self):
        return by_source("module.Forget()", None)

    async def start(self, scheduler):
        global HELD
        HELD = {}

    def transition(self, key, start, finish, *args, **kwargs):
        if finish == "forgotten":
            submission = HELD.pop(key, None)
            if submission is not None:
                submission.data = None


def by_source(expression, state):
    """What unpickles as the value of an expression, after loading this module: on workers that have never heard of it, whatever their
    Python."""
    scope = {"name": name, "source": source, "loader": loader, "state": state}
    return eval, (f"(exec(loader, globals()), {expression})[1]", scope)


def run(plugin, may_stay, names, submission):
    """The task: runs a submission on the node of this worker."""
    worker = get_worker()
    if submission.data is None:
        raise RuntimeError("the task was forgotten before it began")
    missing = [name for name in names if not os.path.exists(os.path.join(SHM, name))]
    if missing:
        return Need(missing)
    installed = worker.plugins.get(plugin)
    if installed is None:
        raise RuntimeError(f"the executable is not installed on {worker.address}")
    reply = installed.run(worker.get_current_task(), submission.data)
    return Large(reply) if may_stay and len(reply) >= LARGE else reply


class Plugin(WorkerPlugin):
    """Keeps the executable on a worker, and its node."""

    idempotent = True

    def __init__(self, title, variable, executable):
        self.name = title
        self.variable = variable
        self.executable = executable
        self.path = None
        self.node = None
        self.failed = None
        self.closed = False
        # The number of each submission that runs, by its task's key; and tasks that are not wanted, whose submissions have not been sent yet.
        self.tasks = {}
        self.unwanted = set()
        # Calls that are not to be begun, for a node that takes the place of this one.
        self.refused = collections.OrderedDict()
        self.lock = threading.RLock()

    def __reduce__(self):
        return by_source("module.Plugin(*state)", (self.name, self.variable, self.executable))

    async def setup(self, worker):
        self.threads = worker.state.nthreads
        try:
            # What programs have cancelled before this worker came.
            for ids in (await worker.scheduler.get_metadata(keys=[REFUSED], default={})).values():
                self.refuse(ids)
            self.path = install(self.executable, self.name, worker.local_directory, self.variable)
            self.node = self.start()
        except Exception as error:
            self.failed = str(error)
            raise
        finally:
            # The scheduler has it for those that come later.
            self.executable = None

    def teardown(self, worker):
        with self.lock:
            self.closed = True
            if self.node is not None:
                self.node.close()
        if self.path is not None:
            remove(self.path)

    def start(self):
        """A node that knows what is refused."""
        node = Node(self.path, self.variable, self.threads)
        if self.refused:
            node.ask(ASK, question(CANCEL, self.refused))
        return node

    def refuse(self, ids):
        self.refused.update(dict.fromkeys(ids))
        while len(self.refused) > REMEMBERED:
            self.refused.popitem(last=False)

    def ask(self, frame):
        """Asks the node. What is not to be begun is remembered for the next one."""
        kind, ids = frame[0], struct.unpack_from(f"<{(len(frame) - 5) // 8}Q", frame, 5)
        with self.lock:
            if kind in (CANCEL, KILL):
                self.refuse(ids)
            elif kind == ALLOW:
                for id in ids:
                    self.refused.pop(id, None)
            return self.node.ask(ASK, frame)[1]

    def transition(self, key, start, finish, **kwargs):
        if finish == "executing":
            self.unwanted.discard(key)
        elif start == "executing" and finish in ("released", "cancelled", "forgotten"):
            # A task that runs is not wanted any more: it was cancelled, or its program is gone.
            with self.lock:
                number = self.tasks.get(key)
                if number is None:
                    self.unwanted.add(key)
                else:
                    self.node.send(DROP, number, b"")

    def run(self, key, submission):
        if self.failed is not None:
            raise RuntimeError(self.failed)
        for _ in range(TRIES):
            with self.lock:
                if key in self.unwanted:
                    self.unwanted.discard(key)
                    raise RuntimeError("the task is not wanted any more")
                if self.closed:
                    raise RuntimeError(f"the executable was removed from {socket.gethostname()}")
                if self.node.dead:
                    self.node = self.start()
                number, reply = self.node.ask(RUN, submission)
                self.tasks[key] = number
            try:
                return reply.result()
            except NodeDied:
                continue
            finally:
                with self.lock:
                    self.tasks.pop(key, None)
        raise NodeDied(f"the process that runs tasks on {socket.gethostname()} died {TRIES} times while it ran this one")


def question(kind, ids):
    return struct.pack(f"<BI{len(ids)}Q", kind, len(ids), *ids)


def install(executable, title, directory, variable):
    """Writes the executable where it can be run, and runs it once."""
    problems = []
    for place in (directory, tempfile.gettempdir(), None):
        path = None
        try:
            path = write(executable, title, place)
            check(path, variable)
            return path
        except PermissionError as error:
            problems.append(f"{place}: {error}")
            if path is not None:
                remove(path)
    raise RuntimeError(f"{socket.gethostname()} has no place from which programs can be started ({'; '.join(problems)})")


def write(executable, title, place):
    if place is None:
        # Where all file systems are mounted `noexec`: memory. The descriptor stays open.
        descriptor = os.memfd_create(title)
        with open(descriptor, "wb", closefd=False) as file:
            file.write(executable)
        return f"/proc/{os.getpid()}/fd/{descriptor}"
    # A name that cannot have been taken before, in a directory that others may write, too.
    path = os.path.join(place, f"{title}-{os.getpid()}-{secrets.token_hex(8)}")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o700)
    with open(descriptor, "wb") as file:
        file.write(executable)
    return path


def remove(path):
    if path.startswith("/proc/"):
        os.close(int(path.rsplit("/", 1)[1]))
    else:
        try:
            os.unlink(path)
        except OSError:
            pass


def check(path, variable):
    """Whether the executable runs here; if not, why."""
    host = socket.gethostname()
    for attempt in itertools.count():
        try:
            done = subprocess.run(
                [path], stdin=subprocess.DEVNULL, capture_output=True, timeout=START, env={**os.environ, variable: "1"}
            )
            break
        except PermissionError:
            raise
        except OSError as error:
            # Just written, in a process with threads: another one, forked meanwhile, may still hold it open.
            if error.errno == 26 and attempt < 20:
                time.sleep(0.05)
                continue
            if error.errno == 8:
                why = f"it was built for another CPU than the {platform.machine()} there"
            elif error.errno == 2:
                why = "the dynamic loader that it was built for is not there: build it for the libc that is, or statically"
            else:
                why = str(error)
            raise RuntimeError(f"this executable cannot run on {host}: {why}") from None
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"this executable, started on {host}, said nothing for {START} s") from None
    if done.returncode != 0 or len(done.stdout) < HEAD.size:
        said = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}, and no message"
        raise RuntimeError(f"this executable cannot run on {host}: {said}")


class Node:
    """A process of the executable, and the questions that it has not answered."""

    def __init__(self, path, variable, threads):
        self.process = subprocess.Popen(
            [path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, variable: str(threads)}
        )
        self.lock = threading.Lock()
        self.numbers = itertools.count(1)
        self.waiting = {}
        self.dead = False
        threading.Thread(target=self.read, name="parallel-node", daemon=True).start()

    def ask(self, kind, body):
        """Sends a frame. Gives its number, and what its answer will be."""
        answer = concurrent.futures.Future()
        # It is not cancelled: `read` sets its result.
        answer.set_running_or_notify_cancel()
        with self.lock:
            number = next(self.numbers)
            if self.dead:
                answer.set_exception(NodeDied())
            else:
                self.waiting[number] = answer
        self.send(kind, number, body)
        return number, answer

    def send(self, kind, number, body):
        try:
            with self.lock:
                self.process.stdin.write(HEAD.pack(NUMBER.size + len(body), kind) + NUMBER.pack(number))
                self.process.stdin.write(body)
                self.process.stdin.flush()
        except (OSError, ValueError):
            # It is gone: the reader will see.
            pass

    def read(self):
        stream = self.process.stdout
        while True:
            head = stream.read(HEAD.size)
            if len(head) < HEAD.size:
                break
            size, _ = HEAD.unpack(head)
            frame = stream.read(size)
            if len(frame) < size:
                break
            if size >= NUMBER.size:
                answer = self.waiting.pop(NUMBER.unpack_from(frame)[0], None)
                if answer is not None:
                    answer.set_result(frame[NUMBER.size :])
        with self.lock:
            self.dead = True
            waiting, self.waiting = self.waiting, {}
        for answer in waiting.values():
            answer.set_exception(NodeDied())
        self.process.wait()

    def close(self):
        try:
            self.process.stdin.close()
        except OSError:
            pass


async def ask(plugin, frame, dask_worker=None):
    """Asks the node of this worker about calls: a byte for each, 1 for yes."""
    installed = dask_worker.plugins.get(plugin)
    nothing = b"\0" if frame[0] == RUNNING else b"\1"
    if installed is None or installed.node is None:
        return nothing * ((len(frame) - 5) // 8)
    try:
        return await asyncio.wrap_future(installed.ask(frame))
    except NodeDied:
        # They may have been begun.
        return (b"\1" if frame[0] in (KILL, ALLOW) else b"\0") * ((len(frame) - 5) // 8)


def state(plugin, dask_worker=None):
    """Why the executable does not run on this worker, if it does not; "" if it is not there yet."""
    installed = dask_worker.plugins.get(plugin)
    if installed is None or installed.node is None and installed.failed is None:
        return ""
    return installed.failed


# On the scheduler.

# When each executable was used last; and which clients each pool of a program has had, and when one of them was seen last. They are those of
# all releases of this module.
BOOKS = sys.modules.setdefault("parallel_books", types.SimpleNamespace(used={}, pools={}))

# An executable that was not used for so long is removed, in seconds; and what a pool has left that has been gone for so long.
UNUSED = 24 * 3600
GONE = 120


def use(plugin, pool, client, dask_scheduler=None):
    """A pool uses an executable. Gives whether it is known, those that are not used, the pools that are there, and a name of the cluster."""
    now = time.time()
    BOOKS.used[plugin] = now
    BOOKS.pools.setdefault(pool, [set(), now])[0].add(client)
    for other, (clients, _) in list(BOOKS.pools.items()):
        if any(its in dask_scheduler.clients for its in clients):
            BOOKS.pools[other][1] = now
        elif now - BOOKS.pools[other][1] > GONE:
            del BOOKS.pools[other]
    ours = [known for known in dask_scheduler.worker_plugins if known.startswith("parallel-")]
    unused = [known for known in ours if now - BOOKS.used.setdefault(known, now) > UNUSED]
    return plugin in ours, unused, list(BOOKS.pools), dask_scheduler.id


def size(dask_scheduler=None):
    """Threads and workers."""
    workers = list(dask_scheduler.workers.values())
    return sum(worker.nthreads for worker in workers), len(workers)


def addresses(dask_scheduler=None):
    return list(dask_scheduler.workers)


# Blobs: data that is the same for many tasks, once on each machine. A blob has a name that its program gave it; and a second one with the
# hash of what it holds, by which other programs find it.


def machine():
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip(), os.stat(SHM).st_dev


def second_name(digest, cluster, blob):
    return os.path.join(SHM, f"parallel_content-{digest}.{cluster}.{blob}")


def link(digest, cluster, blob):
    """Whether a blob is on this machine, if need be after finding what another program has."""
    path = os.path.join(SHM, blob)
    if not os.path.exists(path):
        for other in glob.glob(os.path.join(SHM, f"parallel_content-{digest}.*")):
            try:
                descriptor = os.open(other, os.O_RDONLY | os.O_NOFOLLOW)
            except OSError:
                continue
            try:
                # The name says what it holds, but any user can write a name.
                if not is_ours(descriptor) or digest_of_file(descriptor) != digest:
                    continue
                for target in (second_name(digest, cluster, blob), path):
                    os.link(f"/proc/self/fd/{descriptor}", target, src_dir_fd=descriptor)
                break
            except OSError:
                continue
            finally:
                os.close(descriptor)
    return machine(), os.path.exists(path)


def is_ours(descriptor):
    """Whether a file belongs to this user."""
    status = os.fstat(descriptor)
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()


def digest_of_file(descriptor):
    digest = hashlib.blake2b(digest_size=16)
    while piece := os.read(descriptor, 1 << 20):
        digest.update(piece)
    return digest.hexdigest()


def place(data, digest, cluster, blob):
    """The task: puts a blob on this machine."""
    # Nameless until it is complete: a worker that is killed meanwhile leaves nothing.
    descriptor = os.open(SHM, os.O_TMPFILE | os.O_RDWR, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, len(data))
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        for target in (second_name(digest, cluster, blob), os.path.join(SHM, blob)):
            try:
                # With a directory given, the link of /proc is followed.
                os.link(f"/proc/self/fd/{descriptor}", target, src_dir_fd=descriptor)
            except FileExistsError:
                pass
    except OSError as error:
        raise RuntimeError(f"{len(data)} bytes of shared data do not fit into {SHM} of {socket.gethostname()}: {error}") from None
    finally:
        os.close(descriptor)


def free(blobs, owned=True):
    """Removes blobs from this machine. `owned`: their program says so, and has no task that uses them."""
    for blob in blobs:
        # The name by which `sweep` finds it goes last.
        for path in [os.path.join(SHM, blob)] + glob.glob(os.path.join(SHM, f"parallel_content-*.{blob}")):
            try:
                descriptor = os.open(path, os.O_RDWR)
            except OSError:
                continue
            try:
                os.unlink(path)
                status = os.fstat(descriptor)
                if owned and status.st_nlink == 0:
                    # Processes that have it mapped may be idle for long: they keep no memory.
                    os.ftruncate(descriptor, 0)
                    os.ftruncate(descriptor, status.st_size)
            except OSError:
                pass
            finally:
                os.close(descriptor)


def sweep(cluster, pools):
    """Removes what pools have left that are gone."""
    for path in glob.glob(os.path.join(SHM, f"parallel_content-*.{glob.escape(cluster)}.parallel_blob-*")):
        blob = path[path.rindex("parallel_blob-") :]
        if blob.split("-")[1] not in pools:
            free([blob], owned=False)


def digest_of(data):
    return hashlib.blake2b(data, digest_size=16).hexdigest()
