"""What `/status` says while a stop of scripts/chaos is played, and what the report says that it must have been."""

import http.client
import json
import re
import threading

# So often `/status` is asked for.
EVERY = 0.005
# Those about a generation itself; others have a number only where they are about the one beside.
OF_THE_RUN = {"generation-ended", "generation-began", "replace-began", "replaced", "replace-failed"}


class Watch:
    """Asks for `/status` until told to end: what it said, in order, each only where it has changed (`said`)."""

    def __init__(self, log):
        self.log, self.said, self.over = log, [], threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        port = None
        while not self.over.wait(EVERY):
            port = port or self.port()
            status = port and self.ask(port)
            if status and self.said[-1:] != [status]:
                self.said.append(status)

    def port(self):
        """It is among the first that is told; a program may flood what follows."""
        with self.log.open(errors="replace") as log:
            found = re.search(r"127\.0\.0\.1:(\d+) \(--health-listen\)", log.read(4096))
        return found and int(found[1])

    def ask(self, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            connection.request("GET", "/status")
            status = json.loads(connection.getresponse().read())
            return tuple(status[name] for name in ("phase", "generation", "step", "child", "restarts"))
        # It ends, is held up by SIGSTOP, or has no descriptor for one more.
        except (OSError, ValueError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def end(self):
        self.over.set()
        self.thread.join()
        return self.said


class Life:
    """One generation, as far as the records have told of it."""

    def __init__(self, generation):
        self.generation, self.phase, self.step, self.child = generation, "starting", None, None
        self.was_asked = self.has_ended = False

    def read(self, record):
        event, phase = record["event"], record.get("phase")
        self.phase = self.next_phase(event, phase)
        if event in ("started", "handed-over"):
            self.child = record["pid"]
        elif event in ("heir-awaited", "child-exited", "child-left"):
            self.child = None
        if event in ("child-exited", "child-left"):
            self.has_ended = True
        self.was_asked |= event == "stop-asked"
        self.step = record["step"] if event == "step" else self.step

    def next_phase(self, event, phase):
        if event == "hook-ended" and phase == self.phase:
            after = {"pre-start": "starting", "pre-stop": "sweep" if self.has_ended else "stopping"}
            return after.get(phase, self.phase)
        if event == "start-failed" and self.child is None:
            return "sweep"
        if event == "stop-asked" and not self.was_asked and self.child is not None:
            return "stopping"
        if event in ("child-exited", "child-left") and self.phase != "pre-stop":
            return "sweep"
        if event == "hook-started":
            return phase
        named = {"wait-started": "wait-for", "wait-ended": "starting", "started": "running", "drain-started": "drain"}
        named |= {"step": "ladder", "aborted": "ladder", "generation-ended": "restart-delay", "ended": "ended"}
        return named.get(event, self.phase)


def told(records):
    """What `/status` was after each of these records, as far as it is compared."""
    serving, lives, restarts = 1, {1: Life(1)}, 0
    yield state(lives[1], restarts)
    for record in records:
        event, number = record["event"], record.get("generation")
        if event in ("replace-began", "generation-began"):
            lives[number] = Life(number)
        if event in ("replaced", "generation-began"):
            serving = number
        if event == "generation-ended":
            restarts += record["restart"] != "asked"
        if event not in OF_THE_RUN or event == "generation-ended":
            about = number if number in lives else serving
            lives[about].read(record)
        yield state(lives[serving], restarts)


def state(life, restarts):
    return life.phase, life.generation, life.step, life.child, restarts


def first_untold(said, records):
    """The first thing that `/status` said and the records do not say, in this order."""
    states = told(records)
    now = next(states)
    for one in said:
        while now != one:
            now = next(states, None)
            if now is None:
                return one
    return None
