"""Normal load for a service: several clients at once, irregular in pace and in what they ask.

A `load` program gives, for each phase, a list of (weight, action); an action takes a random
number generator and does one thing a user would do. Clients pause irregularly, work in
bursts and fall silent now and then. SIGTERM ends the load with one line on stdout:
`requests N failed M`.
"""
import random
import signal
import sys
import threading
import time

CLIENTS = 4
MEAN_PAUSE = 0.18  # seconds between two actions of one client, on average


class Count:
    def __init__(self):
        self.lock = threading.Lock()
        self.done = self.failed = 0

    def add(self, failed):
        with self.lock:
            self.done += 1
            self.failed += failed


def _pause(rng, pace):
    """Seconds until the next action: mostly short, sometimes none, sometimes a lull."""
    kind = rng.random()
    if kind < 0.15:
        return 0.005
    if kind < 0.97:
        return min(rng.expovariate(1 / (MEAN_PAUSE * pace)), 2.0)
    return rng.uniform(0.5, 2.5)


def _client(actions, rng, count, pace, stop):
    weights = [weight for weight, _ in actions]
    while not stop.is_set():
        action = rng.choices(actions, weights)[0][1]
        try:
            action(rng)
            count.add(0)
        except Exception as error:  # the service may be under attack or restarting
            count.add(1)
            print(f"{action.__name__}: {error!r}", file=sys.stderr, flush=True)
            stop.wait(0.3)
        stop.wait(_pause(rng, pace))


def main(phases, clients=CLIENTS, pace=1.0):
    """Run the load named on the command line (SEED PHASE) until SIGTERM."""
    seed, phase = int(sys.argv[1]), sys.argv[2]
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    count = Count()
    threads = []
    for index in range(clients):
        rng = random.Random(f"{seed}/{phase}/{index}")
        threads.append(threading.Thread(daemon=True, target=_client,
                                        args=(phases[phase], rng, count, pace, stop)))
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    while not stop.wait(1.0):
        pass
    for thread in threads:
        thread.join(timeout=3)
    print(f"requests {count.done} failed {count.failed}", flush=True)
