"""Children of this process that are killed, or run out of disk space, at a chosen point."""

import os
import resource
import select
import signal
import sys

_CHANGES = {"os.rename", "os.mkdir", "os.chmod", "os.remove"}
_DEADLINE_S = 120  # of a child; then it is taken to hang
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def run_killed(action, at_operation):
    """Run `action` in a child that is killed (SIGKILL) before it changes files for the n-th time.

    It changes files by opening one to write, renaming, removing, making a folder or setting a mode;
    what SQLite does in a transaction is not seen.

    Returns
    -------
    bool
        Whether it was killed; False where it finished before.
    """

    def child():
        count = 0

        def kill_at(event, arguments):
            nonlocal count
            if event in _CHANGES or (event == "open" and arguments[2] & _WRITING):
                count += 1
                if count == at_operation:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(kill_at)
        action()

    ((status, error),) = _results([_fork(child)])
    assert status in (0, -signal.SIGKILL), f"the child failed: {error}"
    return status != 0


def run_with_full_disk(action, free_bytes):
    """Run `action` in a child that cannot write files longer than this; the error as text."""

    def child():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (free_bytes, free_bytes))
        action()

    ((_, error),) = _results([_fork(child)])
    return error


def run_at_once(action, count):
    """Run `action(i)` in so many children that start together; their errors as text."""
    gate = os.pipe()

    def child(i):
        os.close(gate[1])
        os.read(gate[0], 1)  # until the parent closes its end
        action(i)

    children = [_fork(child, i) for i in range(count)]
    os.close(gate[0])
    os.close(gate[1])
    return [error for _, error in _results(children)]


def _fork(function, *arguments):
    """Start a child; returns its id and a pipe to read its error from."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    try:
        function(*arguments)
    except BaseException as error:  # nothing may return into the test runner
        os.write(writing, f"{type(error).__name__}: {error}".encode())
        os._exit(1)
    os._exit(0)


def _results(children):
    """Exit status (negative: a signal) and error text of each child, once it ended."""
    results = []
    for child, reading in children:
        # The pipe is readable once the child wrote an error or ended.
        if not select.select([reading], [], [], _DEADLINE_S)[0]:
            for each, _ in children:
                os.kill(each, signal.SIGKILL)
            raise TimeoutError(f"a child did not end within {_DEADLINE_S} s")
        with open(reading, encoding="utf-8") as stream:
            error = stream.read()
        results.append((os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), error))
    return results
