"""The bridge between a program of parallel-runtime and a Dask cluster.

The program starts it and sends it frames on its standard input; it sends frames on what was its standard output. See `wire.rs` for the frames.
It leaves the cluster when its input ends, and it uses the public interface of `distributed` only.
"""

import asyncio
import collections
import hashlib
import logging
import os
import signal
import struct
import sys
import threading
import uuid
import warnings

HEAD = struct.Struct("<QB")

# The oldest release of `distributed` that this works with.
OLDEST = (2023, 12)

# Bytes of submissions that are submitted as one graph.
GRAPH = 8 << 20

# How often the size of the cluster is looked at, in seconds; and how often the scheduler is told that the executable is still used.
LOOK = 1
USE = 600

# A task that has ended is let go of so much later, in seconds, if its reply is small: the client sends one message in ten milliseconds, and
# that would be the one before the next call's.
LINGER = 0.1
SMALL = 64 << 10

# How long leaving may take, in seconds; the answer of a worker; and bringing the executable to all of them.
LEAVING = 3
ANSWERING = 10
INSTALLING = 120

# How often it is looked whether the workers that a blob is brought to are still there, in seconds.
PLACING = 5

LOADER = """
import sys, types
module = sys.modules.get(name)
if module is None:
    module = types.ModuleType(name)
    module.__dict__.update(name=name, source=source, loader=loader)
    exec(compile(source, name + ".py", "exec"), module.__dict__)
    sys.modules[name] = module
"""


class Gone(Exception):
    """The cluster cannot be used. The text is for people."""


class Take:
    """The parts of a frame, one after the other."""

    def __init__(self, frame):
        self.frame = memoryview(frame)

    def number(self, form="<Q"):
        size = struct.calcsize(form)
        (number,) = struct.unpack_from(form, self.frame)
        self.frame = self.frame[size:]
        return number

    def text(self):
        size = self.number()
        text, self.frame = str(self.frame[:size], "utf-8"), self.frame[size:]
        return text


class Program:
    """The other end of the pipes."""

    def __init__(self):
        self.input = sys.stdin.buffer
        # What anything prints must not get among the frames.
        self.output = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        sys.stdin = open(os.devnull)

    def send(self, kind, *parts):
        self.output.write(HEAD.pack(sum(len(part) for part in parts), ord(kind)))
        for part in parts:
            self.output.write(part)
        self.output.flush()

    def read(self):
        """The next frame; None at the end."""
        head = self.input.read(HEAD.size)
        if len(head) < HEAD.size:
            return None
        size, kind = HEAD.unpack(head)
        frame = self.input.read(size)
        return None if len(frame) < size else (chr(kind), frame)


def number(value):
    return struct.pack("<Q", value)


def text(value):
    value = value.encode()
    return number(len(value)) + value


class Submission:
    def __init__(self, may_stay, names, payload):
        self.may_stay = may_stay
        self.names = names
        self.payload = payload
        self.future = None


class Blob:
    def __init__(self, path, offset, length):
        self.path, self.offset, self.length = path, offset, length
        self.lock = asyncio.Lock()
        self.digest = None
        self.is_placed = False
        self.failures = 0

    def read(self):
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            return file.read(self.length)


class Bridge:
    def __init__(self, program, frame):
        self.program = program
        take = Take(frame)
        self.address, self.executable, self.title, self.source = take.text(), take.text(), take.text(), take.text()
        self.limit, self.variable = take.number() / 1000, take.text()
        self.submissions = {}
        self.blobs = {}
        self.away = {}
        self.arrived = []
        self.ready = []
        self.tasks = set()
        self.freeing = set()
        self.ended = []
        # Calls that are not to be begun; too many to be asked about are long over.
        self.refused = collections.deque(maxlen=10_000)

    # Connecting.

    async def connect(self):
        distributed = self.import_distributed()
        where = {"address": self.address}
        if "://" not in self.address and os.path.exists(self.address):
            where = {"scheduler_file": self.address}
        try:
            self.client = await distributed.Client(
                **where, asynchronous=True, set_as_default=False, name="parallel", timeout=self.limit
            )
        except (OSError, asyncio.TimeoutError) as error:
            raise Gone(
                f"no scheduler answers there within {self.limit:g} s ({error}): is it running, and can this machine reach it?"
            )
        except Exception as error:
            raise Gone(self.misfit(distributed.__version__, error))
        name = "parallel_node_" + hashlib.blake2b(self.source.encode(), digest_size=8).hexdigest()
        scope = {"name": name, "source": self.source, "loader": LOADER}
        exec(LOADER, scope)
        self.module = scope["module"]
        try:
            theirs = await self.client.run_on_scheduler(eval, "__import__('distributed').__version__")
            self.check_versions(distributed.__version__, theirs)
            await self.client.run_on_scheduler(exec, LOADER, {"name": name, "source": self.source, "loader": LOADER})
            await self.client.register_plugin(self.module.Forget(), name=name)
            await asyncio.wait_for(self.install(), INSTALLING)
        except Gone:
            raise
        except asyncio.TimeoutError:
            raise Gone(f"its workers do not answer within {INSTALLING} s: one that hangs is in the way of all")
        except Exception as error:
            raise Gone(self.misfit(distributed.__version__, error))
        self.threads, self.workers = await self.client.run_on_scheduler(self.module.size)

    def import_distributed(self):
        try:
            import distributed
        except ImportError as error:
            raise Gone(
                f"{sys.executable} cannot import `distributed` ({error}): install it with "
                f"`{sys.executable} -m pip install distributed`, or name an interpreter that has it in PARALLEL_PYTHON"
            )
        if tuple(int(part) for part in distributed.__version__.split(".")[:2]) < OLDEST:
            oldest = ".".join(str(part) for part in OLDEST)
            raise Gone(f"{sys.executable} has `distributed` {distributed.__version__}, and {oldest} or newer is needed")
        warnings.filterwarnings("ignore")
        # The last messages that were sent are kept for developers, with all that is in them.
        import dask

        for log in ("distributed.admin.low-level-log-length", "distributed.comm.recent-messages-log-length"):
            dask.config.set({log: 0})
        logging.getLogger("distributed").setLevel(logging.CRITICAL + 1)
        return distributed

    def misfit(self, version, error):
        return (
            f"{type(error).__name__}: {error} (here `distributed` is {version}; if the cluster has another release, install "
            f"that one here, or name an interpreter that has it in PARALLEL_PYTHON)"
        )

    def check_versions(self, ours, theirs):
        parse = lambda version: tuple(int(part) for part in version.split("+")[0].split(".")[:3])
        if parse(ours) > parse(theirs):
            raise Gone(
                f"`distributed` is {ours} here and {theirs} on the cluster, and the newer one cannot speak to the older: "
                f"install the cluster's with `{sys.executable} -m pip install distributed=={theirs}`, or name an interpreter "
                f"that has it in PARALLEL_PYTHON"
            )

    async def install(self):
        """Brings the executable to the workers."""
        with open(self.executable, "rb") as file:
            executable = file.read()
        self.plugin = "parallel-" + hashlib.blake2b(executable, digest_size=16).hexdigest()
        known = await self.use()
        if not known:
            try:
                await self.client.register_plugin(self.module.Plugin(self.plugin, self.variable, executable), name=self.plugin)
            except Exception as error:
                await self.quietly(self.client.unregister_worker_plugin(self.plugin))
                raise Gone(str(error))
        while True:
            states = await self.client.run(self.module.state, self.plugin, on_error="return")
            for worker, failed in states.items():
                if isinstance(failed, str) and failed:
                    raise Gone(f"worker {worker}: {failed}")
            # Another program may be bringing it there just now.
            if all(failed is None for failed in states.values()):
                return
            await asyncio.sleep(0.05)

    async def use(self):
        """Tells the scheduler that the executable is used; removes those that are not, and what lost programs have left."""
        known, unused, programs, self.cluster = await self.client.run_on_scheduler(
            self.module.use, self.plugin, self.title, self.client.id
        )
        for plugin in unused:
            await self.quietly(self.client.unregister_worker_plugin(plugin))
        await self.client.run(self.module.sweep, self.cluster, programs, on_error="ignore")
        return known

    async def quietly(self, work):
        """Does what need not succeed."""
        try:
            await work
        except Exception:
            pass

    # What the program says.

    def deliver(self, frame):
        """A frame has come. Those that come together are dealt with together."""
        if not self.arrived:
            asyncio.get_running_loop().call_soon(self.deal)
        self.arrived.append(frame)

    def deal(self):
        arrived, self.arrived = self.arrived, []
        try:
            self.deal_with(arrived)
        except Exception as error:
            self.lost = f"the bridge has failed: {error!r}"
            self.over.set()

    def deal_with(self, arrived):
        submitted = []
        for frame in arrived:
            if frame is None:
                self.over.set()
                return
            kind, frame = frame
            take = Take(frame)
            if kind == "S":
                size = take.number()
                payload = bytes(take.frame[size:])
                id, may_stay = take.number(), take.number("<B")
                names = [take.text() for _ in range(take.number("<I"))]
                self.submissions[id] = Submission(bool(may_stay), names, payload)
                submitted.append(id)
            elif kind == "A":
                self.begin(self.ask(take.number(), bytes(take.frame)))
            elif kind == "B":
                name = take.text()
                self.blobs[name] = Blob(take.text(), take.number(), take.number())
            elif kind == "F":
                name = take.text()
                self.blobs.pop(name, None)
                freeing = asyncio.ensure_future(self.quietly(self.client.run(self.module.free, [name], on_error="ignore")))
                self.freeing.add(freeing)
                freeing.add_done_callback(self.freeing.discard)
            elif kind == "G":
                self.begin(self.fetch(take.number()))
            elif kind == "D":
                self.forget(take.number())
        # Some of them may not be wanted any more.
        submitted = [id for id in submitted if id in self.submissions]
        self.submit([id for id in submitted if not self.submissions[id].names])
        for id in submitted:
            if id in self.submissions and self.submissions[id].names:
                self.begin(self.submit_with_blobs(id))

    def begin(self, work):
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.end)

    def end(self, task):
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None and not self.over.is_set():
            self.lost = f"the bridge has failed: {task.exception()!r}"
            self.over.set()

    # Submissions.

    def submit(self, ids):
        """Submits submissions, as one graph if they are not too large."""
        graph, size = [], 0
        for id in ids:
            submission = self.submissions[id]
            if graph and size + len(submission.payload) > GRAPH:
                self.submit_graph(graph)
                graph, size = [], 0
            graph.append((id, submission))
            size += len(submission.payload)
        if graph:
            self.submit_graph(graph)

    def submit_graph(self, graph):
        keys = [f"parallel-{uuid.uuid4().hex}" for _ in graph]
        futures = self.client.map(
            self.module.run,
            [self.plugin] * len(graph),
            [submission.may_stay for _, submission in graph],
            [submission.names for _, submission in graph],
            [self.module.Submission(key, submission.payload) for key, (_, submission) in zip(keys, graph)],
            key=keys,
            pure=False,
        )
        for (id, submission), future in zip(graph, futures):
            submission.future = future
            self.begin(self.follow(id, submission, future))

    async def submit_with_blobs(self, id):
        submission = self.submissions[id]
        try:
            for name in submission.names:
                if name in self.blobs:
                    await self.place(name)
        except Exception as error:
            self.failed(id, 0, str(error))
            return
        if id in self.submissions:
            self.submit([id])

    async def follow(self, id, submission, future):
        error = await self.outcome(future)
        while future.status in ("lost", "pending"):
            # Its worker has died just after it had ended, and it is run again.
            self.check_connection()
            if self.over.is_set():
                return
            await asyncio.sleep(0.01)
            error = await self.outcome(future)
        if self.submissions.get(id) is not submission:
            return
        if future.status == "finished":
            if future.type is self.module.Large:
                del self.submissions[id]
                self.away[id] = future
                self.program.send("l", number(id))
            else:
                if not self.ready:
                    asyncio.get_running_loop().call_soon(lambda: self.begin(self.collect()))
                self.ready.append((id, submission, future))
        elif future.status == "error":
            died = type(error).__name__ in ("KilledWorker", "NodeDied")
            self.failed(id, 2 if died else 0, str(error))
        else:
            # Not by us: either the scheduler is gone, or the cluster was restarted.
            await asyncio.sleep(0.1)
            self.check_connection()
            self.failed(id, 1, "its scheduler has dropped the task: was the cluster restarted?")

    async def outcome(self, future):
        """The exception of a task that has ended, if it is one."""
        try:
            return await future.exception()
        except asyncio.CancelledError:
            if future.status == "cancelled":
                return None
            raise
        except Exception as error:
            return error

    async def collect(self):
        """Fetches the replies to submissions that have ended together."""
        ready, self.ready = self.ready, []
        try:
            replies = await self.client.gather([future for _, _, future in ready])
        except Exception:
            replies = []
            for _, _, future in ready:
                try:
                    replies.append(await future)
                except Exception as error:
                    replies.append(error)
        for (id, submission, future), reply in zip(ready, replies):
            if self.submissions.get(id) is not submission:
                continue
            if isinstance(reply, self.module.Need):
                # A machine that has joined since.
                for name in reply:
                    if name in self.blobs:
                        self.blobs[name].is_placed = False
                self.begin(self.submit_with_blobs(id))
            elif isinstance(reply, Exception):
                self.check_connection()
                self.failed(id, 0, str(reply))
            else:
                del self.submissions[id]
                self.program.send("r", number(id), reply)
                if len(reply) <= SMALL:
                    if not self.ended:
                        asyncio.get_running_loop().call_later(LINGER, self.ended.clear)
                    self.ended.append(future)

    def failed(self, id, kind, why):
        if not self.over.is_set() and self.submissions.pop(id, None) is not None:
            self.program.send("f", number(id), bytes([kind]), text(why))

    async def fetch(self, id):
        future = self.away.get(id)
        if future is None:
            return
        try:
            reply = await future
        except Exception as error:
            self.away.pop(id, None)
            self.check_connection()
            self.program.send("f", number(id), bytes([0]), text(str(error)))
            return
        self.away.pop(id, None)
        self.program.send("r", number(id), reply)

    def forget(self, id):
        self.away.pop(id, None)
        submission = self.submissions.pop(id, None)
        if submission is not None and submission.future is not None:
            self.begin(self.quietly(self.client.cancel([submission.future])))

    async def ask(self, id, question):
        """Asks all nodes about calls. To cancel or to kill: whether all agree. Whether it runs: whether one says so."""
        module, kind = self.module, question[0]
        ids = struct.unpack_from(f"<{(len(question) - 5) // 8}Q", question, 5)
        if kind in (module.CANCEL, module.KILL):
            # First for workers that come later.
            self.refused.extend(ids)
            await self.quietly(self.tell_refused())
        try:
            asked = self.client.run(module.ask, self.plugin, question, on_error="return")
            answers = (await asyncio.wait_for(asked, ANSWERING)).values()
        except Exception:
            answers = [None]
        # Who gives no answer may have begun it; to kill it, that is all that can be done.
        silent = bytes([kind == module.KILL]) * len(ids)
        answers = [answer if isinstance(answer, bytes) and len(answer) == len(ids) else silent for answer in answers]
        combine = any if kind == module.RUNNING else all
        told = bytes(combine(answer[at] for answer in answers) for at in range(len(ids)))
        begun = [id for id, answer in zip(ids, told) if not answer]
        if kind == module.CANCEL and begun:
            # They have begun somewhere, and may be begun again if that place is lost.
            self.refused = collections.deque((id for id in self.refused if id not in begun), self.refused.maxlen)
            await self.quietly(self.tell_refused())
            allow = module.question(module.ALLOW, begun)
            await self.quietly(
                asyncio.wait_for(self.client.run(module.ask, self.plugin, allow, on_error="ignore"), ANSWERING)
            )
        self.program.send("a", number(id), told)

    async def tell_refused(self):
        await self.client.set_metadata([self.module.REFUSED, self.title], list(self.refused))

    # Blobs.

    async def place(self, name):
        """Makes sure that a blob is on each machine."""
        blob = self.blobs[name]
        async with blob.lock:
            while not blob.is_placed:
                try:
                    blob.is_placed = await self.try_to_place(name, blob)
                except Exception as error:
                    # A worker that was to help may have died.
                    self.check_connection()
                    blob.failures += 1
                    if self.over.is_set() or blob.failures > 3 or "do not fit" in str(error):
                        raise
        if name not in self.blobs:
            # Its program has let go of it meanwhile.
            await self.quietly(self.client.run(self.module.free, [name], on_error="ignore"))

    async def try_to_place(self, name, blob):
        """The same, if no worker dies meanwhile."""
        data = await asyncio.to_thread(blob.read)
        if blob.digest is None:
            blob.digest = await asyncio.to_thread(self.module.digest_of, data)
        linking = self.client.run(self.module.link, blob.digest, self.cluster, name, on_error="ignore")
        there = await asyncio.wait_for(linking, INSTALLING)
        machines = {}
        for worker, (machine, is_there) in there.items():
            if not is_there:
                machines.setdefault(machine, worker)
        if not machines:
            return True
        scattered = await self.client.scatter(data, hash=False)
        placing = [
            self.client.submit(
                self.module.place, scattered, blob.digest, self.cluster, name, workers=[worker], pure=False
            )
            for worker in machines.values()
        ]
        placed = asyncio.ensure_future(self.client.gather(placing))
        while not (await asyncio.wait([placed], timeout=PLACING))[0]:
            workers = await self.client.run_on_scheduler(self.module.addresses)
            if not set(machines.values()) <= set(workers):
                placed.cancel()
                await self.quietly(self.client.cancel(placing))
                return False
        await placed
        return True

    # The connection.

    def check_connection(self):
        if self.client.status != "running" and not self.over.is_set():
            self.lost = "its scheduler has gone; what was under way is lost, and the next call connects again"
            self.over.set()

    async def look(self):
        """Tells the program how large the cluster is, and that it is still there."""
        for turn in range(1, sys.maxsize):
            await asyncio.sleep(LOOK)
            self.check_connection()
            try:
                size = await asyncio.wait_for(self.client.run_on_scheduler(self.module.size), 30)
                if turn % USE == 0:
                    await self.use()
            except Exception:
                self.check_connection()
                continue
            self.program.send("w", number(size[0]), number(size[1]))

    async def main(self):
        self.over = asyncio.Event()
        self.lost = None
        await self.connect()
        self.program.send("c", number(self.threads), number(self.workers))
        loop = asyncio.get_running_loop()

        def read():
            while True:
                frame = self.program.read()
                loop.call_soon_threadsafe(self.deliver, frame)
                if frame is None:
                    return

        threading.Thread(target=read, daemon=True).start()
        self.begin(self.look())
        await self.over.wait()
        if self.lost is not None:
            # Before the loop is cleaned up, which may take its time.
            self.program.send("q", text(self.lost))
            os._exit(0)
        await self.leave()

    async def leave(self):
        async def leave():
            # What is being freed just now, too: the cluster may end as soon as this has left.
            if self.freeing:
                await asyncio.wait(self.freeing)
            if self.blobs:
                await self.client.run(self.module.free, list(self.blobs), on_error="ignore")
            if self.refused:
                await self.client.set_metadata([self.module.REFUSED, self.title], [])
            await self.client.close()

        try:
            await asyncio.wait_for(leave(), LEAVING)
        except Exception:
            pass


def main():
    # Ctrl-C is for the program, and this leaves when the program does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    program = Program()
    first = program.read()
    if first is not None:
        try:
            asyncio.run(Bridge(program, first[1]).main())
        except Gone as gone:
            program.send("q", text(str(gone)))
        except BrokenPipeError:
            pass
    os._exit(0)


main()
