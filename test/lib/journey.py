"""One case from the first start to the refused second attack, with everything measured on the way."""
import os
import re
import subprocess
import time

import case as cases
import engine as engines
import opatch

STARTUP = 10  # seconds that the monitor takes for a container's start
FLUSHED = 2.5  # seconds after which the monitor has written a window
SETTLE = 6  # seconds after an attack in which an alarm may still come


class Journey:
    """Runs a case under opatch. `say(text)` gets the timeline as it happens."""

    def __init__(self, case, under, engine, say=lambda text: None, learn=180, normal=180, seed=1, restart=False):
        self.case, self.under, self.engine, self.say, self.restart = case, under, engine, say, restart
        self.learn, self.normal, self.seed = learn, normal, seed
        self.name = case.name.lower()
        self.id = None
        self.seen = {"case": case.name, "engine": engine.name, "effect": case.effect}

    def pid(self):
        return self.engine.pid(self.name)

    def container(self):
        """The id that opatch knows the container by."""
        return self.engine.id(self.name) if hasattr(self.engine, "id") else self.name

    def prove(self):
        """The attack on a container of its own, unwatched: whether it works at all."""
        bare = engines.Bare()
        try:
            bare.start(self.case, self.name)
            if not engines.wait_healthy(bare, self.case, self.name):
                raise RuntimeError("the service does not answer: " + bare.log(self.name)[-300:])
            verdict, proof = self.case.trigger(bare.pid(self.name))
        finally:
            bare.close()
        self.seen["worked"], self.seen["proof"] = verdict == cases.WORKED, proof
        self.say(f"attacked unwatched: {proof}" if self.seen["worked"] else f"no exploit: {proof}")

    def start(self):
        self.engine.start(self.case, self.name)
        self.id = self.container()
        if not engines.wait_healthy(self.engine, self.case, self.name):
            raise RuntimeError("the service does not answer: " + self.engine.log(self.name)[-300:])
        self.say(f"started {self.case.application}, {self.case.package} {self.case.vulnerable}")

    def teach(self):
        """Normal load until the container is watched."""
        load = self.case.load(self.pid(), self.seed, "a")
        started = time.monotonic()
        try:
            # Idle windows do not count, and a shadow that alarms extends the learning.
            learnt = self.under.wait_state(self.id, ("WATCHING",), self.learn * 4 + 120)
        finally:
            report = self.case.stop_load(load)
        if not learnt:
            raise RuntimeError("no model after the learning time: " + str(self.under.events()[-3:]))
        self.seen["learn_s"] = round(time.monotonic() - started, 1)
        self.say(f"learned from {report.done} requests in {self.seen['learn_s']:.0f} s")

    def settle(self):
        """Normal load until the start of a container is over for the monitor."""
        load = self.case.load(self.pid(), self.seed, "a")
        time.sleep(STARTUP + 2)
        self.case.stop_load(load)

    def start_watched(self):
        """A container with a profile: watched from its start, and with what the profile plans to capture,
        which is less than while it is learned."""
        self.start()
        if not self.under.wait_state(self.id, ("WATCHING",), 10):
            raise RuntimeError("the container is not watched: " + str(self.under.state(self.id)))
        self.settle()

    def alarms_since(self, since):
        return self.under.events("alarm", since, self.id)

    def live_normally(self):
        """Another mix of load; every alarm in it is a false one."""
        since = time.time()
        load = self.case.load(self.pid(), self.seed + 1000, "b")
        time.sleep(self.normal)
        report = self.case.stop_load(load)
        false = self.alarms_since(since)
        again = self.under.events("alarm repeated", since, self.id)
        known = {event["output_fields"]["opatch.alarm"] for event in again}
        windows = [0, 0]  # of false alarms, of repeated ones
        for event in self.under.events("quiet", since, self.id):
            fields = event["output_fields"]
            windows[fields["opatch.alarm"] in known] += fields["opatch.windows"]
        self.seen["normal_s"] = self.normal
        self.seen["false_episodes"] = len(false)
        self.seen["repeated"] = len(again)
        self.seen["false_windows"], self.seen["repeated_windows"] = windows
        self.seen["load_failed"] = report.failed
        self.say(f"{self.normal} s of other normal load ({report.done} requests): "
                 f"{len(false)} false alarms, {self.seen['repeated']} repeated")
        for event in false:
            fields = event["output_fields"]
            self.say(f"false alarm: {fields['opatch.features']} {fields['opatch.evidence']}"[:600])

    def attack(self):
        """The attack under load; whether an alarm named it, and when."""
        load = self.case.load(self.pid(), self.seed + 2000, "b")
        try:
            time.sleep(5)
            began = time.time()
            verdict, proof = self.case.trigger(self.pid())
            ended = time.time()
            # An alarm that was there already gets its name from the attack.
            alarm = self.under.wait_event(("alarm", "identified"), SETTLE, began, self.id)
            named = self.under.wait_event(("identified",), SETTLE if alarm else 0, began, self.id)
        finally:
            self.case.stop_load(load)
        # A patch that is quicker than the attack cuts it short.
        self.seen.update(succeeded=verdict == cases.WORKED, detected=alarm is not None,
                         began=began, ended=ended)
        self.say(f"attacked: {proof}" if self.seen["succeeded"] else f"attacked, cut short: {proof}")
        if alarm:
            at = opatch.moment(alarm)
            self.seen["alarm_ms"] = round((at - began) * 1000)
            self.seen["lead_s"] = round(ended - at, 3)
            self.seen["alarm"] = alarm["output_fields"]["opatch.alarm"]
            self.say(f"alarm {self.seen['alarm_ms']} ms after the attack began: {alarm['output']}")
        else:
            self.say("no alarm")
        self.seen["cve"] = named["output_fields"]["opatch.cve"] if named else "unknown"
        self.seen["right"] = self.seen["cve"] in self.case.cve
        if named:
            self.say(f"named {self.seen['cve']} (confidence "
                     f"{named['output_fields']['opatch.confidence']:.2f}): "
                     f"{named['output_fields'].get('opatch.reason', '')}")
        elif alarm:
            self.say("not named")

    def patch(self):
        """Waits for the patch that the alarm set off, and attacks again."""
        since = self.seen["began"]
        done = self.under.wait_event(("patch applied", "patch failed", "patch rolled back"), 180,
                                     since, self.id)
        self.seen["patched"] = done is not None and done["rule"] == "patch applied"
        if not done:
            self.say("no patch was applied")
            return
        self.say(done["output"])
        if not self.seen["patched"]:
            return
        self.seen["patch_s"] = round(opatch.moment(done) - since - self.seen["alarm_ms"] / 1000, 1)
        self.seen["healthy"] = engines.wait_healthy(self.engine, self.case, self.name)
        verdict, proof = self.case.trigger(self.pid())
        self.seen["refused"] = verdict == cases.REFUSED
        self.seen["proof_after"] = proof
        self.say(f"attacked again: {'refused' if self.seen['refused'] else 'NOT refused'}, {proof}")

    def next_container(self):
        """A new container of the same image must be patched when its program starts."""
        self.engine.delete(self.name)
        since = time.time()
        self.engine.start(self.case, self.name)
        healthy = engines.wait_healthy(self.engine, self.case, self.name)
        verdict, proof = self.case.trigger(self.pid())
        self.seen["next_refused"] = healthy and verdict == cases.REFUSED
        applied = self.under.events("patch applied", since, self.id)
        if applied:
            self.seen["next_ms"] = int(re.search(r"in (\d+) ms", applied[0]["output"])[1])
        self.say("the next container of the image, attacked: "
                 f"{'refused' if self.seen['next_refused'] else 'NOT refused'}, {proof}")
        if not self.seen["next_refused"]:
            self.say("events since its start: " +
                     "; ".join(f"{event['rule']}: {event['output']}" for event in self.under.events(since=since)))
            self.say("kept patches: " + self.under.command("patches", check=False))

    def record(self, directory):
        """Keeps what the monitor recorded, with the row of the attack."""
        time.sleep(max(0, self.seen["ended"] + FLUSHED - time.time()))
        self.under.command("record", self.id, directory)
        with open(os.path.join(directory, "windows.csv"), encoding="utf-8") as file:
            start = float(file.readline().split("from ")[1].split()[0])
        first, last = (int((self.seen[key] - start) * 10) for key in ("began", "ended"))
        with open(os.path.join(directory, "labels.csv"), "w", encoding="utf-8") as file:
            file.write(f"trigger_row,success_row\n{first},{last}\n")
        return first, last

    def footprint(self):
        """(memory in KiB of the container's cgroup, disk in KiB that it changed)."""
        upper = self.engine.upper(self.name)
        disk = int(subprocess.run(["du", "-sk", upper], stdout=subprocess.PIPE, text=True,
                                  check=True).stdout.split()[0]) if upper else 0
        return engines.memory_kib(self.pid()), disk

    def run(self, record_to=None):
        """Everything; the result is one dictionary."""
        self.prove()
        self.start()
        try:
            self.teach()
            if self.restart:
                self.engine.delete(self.name)
                self.start_watched()
            if self.normal:
                self.live_normally()
            before = self.footprint()
            self.attack()
            if self.case.expected == "patched" and self.seen["right"]:
                self.patch()
                after = self.footprint()
                self.seen["memory_kib"] = after[0] - before[0]
                self.seen["disk_kib"] = after[1] - before[1]
            if record_to:
                self.record(record_to)
            if self.seen.get("refused"):
                self.next_container()
        finally:
            self.engine.delete(self.name)
        return self.seen
