"""The conformance ratchet: run smbtorture against gabion as table.tsv says.

usage: run.sh [options]
  --sample N [--seed S]  only N of the tests that must pass, or 1/N for a part of
                         them, chosen by S
  --passing              only the tests that must pass
  --mode MODE            signed or encrypted: as the table says, but with every
                         session signed, or encrypted
  --only REGEX           only these tests
  --update               write what happened into the table (new reasons are
                         smbtorture's first line) and the README from it
  --readme               only write the README from the table
  --workers N            tests at a time (default 6)
  --results FILE         one JSON object a line

table.tsv has a row per case: test, home, target, status, reference, reason. The
home is the configuration it runs in (HOMES below), the target what smbtorture is
told that the server is (--target). The status is

  pass    must pass
  xfail   fails, and the reason says why; if it passes the table is wrong
  skip    is not run; the reason says why it cannot mean anything here

and the reference is what Samba 4.17 did. A test that did not do what the table
says runs again by itself before that counts: many measure time, and CI has two
slow processors. The output says of each what came of it the first time (AGAIN), and
at the end how many there were. modes.tsv has the rows that are not as in the table when every
session is signed or encrypted: test, home, mode, reason; they are not run then.
The last line is 'N passed, N failed'; the exit status is not 0
when something failed, unexpected passes included.
"""
import argparse
import collections
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading

import torture

HERE = os.path.dirname(os.path.realpath(__file__))
TABLE = os.path.join(HERE, "table.tsv")
MODES = os.path.join(HERE, "modes.tsv")
HEAD = ("test", "home", "target", "status", "reference", "reason")
TARGETS = ("samba3", "win7")
USER, PASSWORD = "torture1", "Pass-torture1"
USER2, PASSWORD2 = "torture2", "Pass-torture2"
SECOND = ["--option=torture:user2name=" + USER2,
          "--option=torture:user2password=" + PASSWORD2]

# Each home: options of the shares the workers get, arguments of the server,
# options of smbtorture. Most tests use sessions that do not sign, which the
# server refuses unless it is told otherwise.
ENABLED = ["--signing", "enabled"]
HOMES = {
    "base": ("", ENABLED, SECOND),
    "signed": ("", [], SECOND + ["--client-protection=sign"]),
    "encrypted": (",encrypt", [], SECOND + ["--client-protection=encrypt"]),
    "persistent": (",ca", ENABLED, SECOND),
    "enumeration": ("", ENABLED + ["--share", "hideunread,path=p0,abe"], SECOND),
    # The suite's own control codes answered, null sessions let in, a share that
    # the first user may not enter.
    "testmode": ("", ENABLED + ["--test-mode", "--share", "other,path=other",
                                "--share", "closed,path=closed,allow=" + USER2],
                 SECOND + ["--option=torture:share2=other",
                           "--option=torture:noperm_share=closed"]),
    # A snapshot of all shares is there before the tests.
    "snapshots": ("", ENABLED + ["--share", "all"], SECOND),
    # The port that the test has built in, where nobody else has it.
    "port445": ("", ENABLED + ["--listen", "127.0.44.5:445"], SECOND),
}
XFAIL_TIMEOUT = 40
# For what hangs: some make and remove thousands of files one after the other, each of
# which a disk that takes 30 ms for a sync needs five minutes for.
TIMEOUT = 900


class Row:
    def __init__(self, *cols):
        (self.test, self.home, self.target, self.status, self.reference,
         self.reason) = cols

    def key(self):
        return self.test, self.home

    def line(self):
        return "\t".join((self.test, self.home, self.target, self.status,
                          self.reference, self.reason))


def load():
    rows = []
    for n, line in enumerate(open(TABLE)):
        cols = line.rstrip("\n").split("\t")
        if n == 0:
            continue
        if len(cols) != len(HEAD) or cols[3] not in ("pass", "xfail", "skip") \
                or cols[1] not in HOMES or cols[2] not in TARGETS \
                or (cols[3] != "pass" and not cols[5]):
            sys.exit("table.tsv:%d: malformed row" % (n + 1))
        rows.append(Row(*cols))
    if len({r.key() for r in rows}) != len(rows):
        sys.exit("table.tsv: a case has two rows")
    return rows


def except_in(mode):
    """Keys of the rows that are not as in the table in a mode."""
    keys = set()
    for n, line in enumerate(open(MODES)):
        cols = line.rstrip("\n").split("\t")
        if n and len(cols) != 4 or n and not cols[3]:
            sys.exit("modes.tsv:%d: malformed row" % (n + 1))
        if cols[2] == mode:
            keys.add((cols[0], cols[1]))
    return keys


def save(rows):
    rows.sort(key=Row.key)
    with open(TABLE, "w") as f:
        f.write("\t".join(HEAD) + "\n")
        for r in rows:
            f.write(r.line() + "\n")


def binary():
    """The binary that .ci/run built, or one built now."""
    root = os.path.dirname(os.path.dirname(HERE))
    if os.environ.get("GABION"):
        return os.environ["GABION"]
    out = os.path.join(tempfile.mkdtemp(prefix="torture."), "gabion")
    subprocess.run(["go", "build", "-o", out, "./cmd/gabion"], cwd=root, check=True)
    return out


class Gabion:
    """A server of its own, with a share for each worker."""

    def __init__(self, path, home, workers, mode=None):
        option, args, self.options = HOMES[home]
        if mode:
            # What is not signed or encrypted the server refuses.
            args = [a for a in args if a not in ENABLED]
            self.options = self.options + ["--client-protection=" + {
                "signed": "sign", "encrypted": "encrypt"}[mode]]
        if mode == "encrypted":
            args = args + ["--encryption", "required"]
        self.shares = ["p%d" % i for i in range(workers)]
        self.dir = tempfile.TemporaryDirectory(prefix="gabion.")
        cmd = [path, "serve", "--data", self.dir.name + "/data", "--listen",
               "127.0.0.1:0", "--user", "%s:%s" % (USER, PASSWORD),
               "--user", "%s:%s" % (USER2, PASSWORD2)] + args
        for s in self.shares:
            cmd += ["--share", "%s,path=%s%s" % (s, s, option)]
        self.log = open(self.dir.name + "/log", "w+")
        self.process = subprocess.Popen(cmd, stdout=subprocess.PIPE,
                                        stderr=self.log, text=True)
        ready = self.process.stdout.readline()
        m = re.search(r"smb=([^ ]*):(\d+)", ready)
        if not m:
            self.stop()
            sys.exit("gabion did not start: %s" % self.tail())
        self.host, self.port = m.groups()
        if home == "snapshots":
            self.options = self.options + self.snapshot(path)

    def snapshot(self, path):
        """Put a file with a stream and a folder into each share, keep them in a
        snapshot, and say where that is."""
        tmp = tempfile.TemporaryDirectory(prefix="torture.")
        for name, text in (("foo", "hello"), ("baz", "baz")):
            with open(os.path.join(tmp.name, name), "w") as f:
                f.write(text)
        for s in self.shares:
            subprocess.run(["smbclient", "//%s/%s" % (self.host, s), "-p", self.port,
                            "-U", USER + "%" + PASSWORD, "-c", "put foo; put baz foo:bar; "
                            "mkdir subdir; put baz subdir/hardlink"], cwd=tmp.name,
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        out = subprocess.run([path, "snapshot", "create", "all", "--json", "--data",
                              self.dir.name + "/data"], check=True,
                             stdout=subprocess.PIPE).stdout
        taken = json.loads(out)["taken"][:19]
        gmt = "@GMT-" + re.sub("[-T]", ".", taken[:10]) + "-" + taken[11:].replace(":", ".")
        return ["--option=torture:twrp_file=foo", "--option=torture:twrp_stream=bar",
                "--option=torture:twrp_stream_size=3", "--option=torture:twrp_snapshot=" + gmt]

    def tail(self):
        self.log.seek(0)
        return self.log.read()[-4000:]

    def panics(self):
        self.log.seek(0)
        return self.log.read().count("panic")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=120)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return "not within 120 s"


class Run:
    def __init__(self, args):
        self.args = args
        self.names = torture.listing()
        self.lock = threading.Lock()
        self.counts = collections.Counter()
        self.complaints, self.seen, self.again = [], {}, []
        self.results = open(args.results, "w") if args.results else None

    def choose(self, rows):
        rows = [r for r in rows if r.status != "skip"]
        if self.args.mode:
            apart = except_in(self.args.mode)
            rows = [r for r in rows if r.key() not in apart]
        if self.args.only:
            return [r for r in rows if re.search(self.args.only, r.test)]
        if self.args.sample or self.args.passing:
            rows = [r for r in rows if r.status == "pass"]
        if self.args.sample:
            part = self.args.sample.split("/")
            n = len(rows) // int(part[1]) if part[1:] else int(part[0])
            rows = random.Random(self.args.seed).sample(rows, min(n, len(rows)))
        return rows

    def home(self, path, home, rows):
        server = Gabion(path, home, min(self.args.workers, len(rows)), self.args.mode)
        smb = torture.Server(server.host, server.port, USER, PASSWORD,
                             server.options, timeout=TIMEOUT)
        again = []

        def one(row, share):
            if server.process.poll() is not None:
                res, why, sec = "error", "the server is gone", 0
            else:
                limit = XFAIL_TIMEOUT if row.status == "xfail" else TIMEOUT
                res, why, sec = smb.once(self.names.get(row.test, row.test), share,
                                         timeout=limit, target=row.target)
            if expected(row, res):
                self.note(row, res, why, sec)
            else:
                with self.lock:
                    again.append(row)
                    print("AGAIN %s (%s): %s in %.1f s, the table says %s  %s" % (
                        row.test, row.home, res, sec, row.status, why), flush=True)

        # Long ones first, so that none is left alone at the end.
        torture.spread(rows, server.shares, one)
        self.again.extend(row.test for row in again)
        for row in again:
            if server.process.poll() is not None:
                server = Gabion(path, home, 1, self.args.mode)
                smb = torture.Server(server.host, server.port, USER, PASSWORD,
                                     server.options, timeout=TIMEOUT)
                self.complain("the server ended during the tests of " + home)
            self.note(row, *smb.once(self.names.get(row.test, row.test),
                                     server.shares[0], timeout=TIMEOUT, target=row.target))
        if server.panics():
            self.complain("the server logged a panic:\n" + server.tail())
        code = server.stop()
        if code != 0:
            self.complain("the server ended with %s on SIGTERM:\n%s"
                          % (code, server.tail()))

    def complain(self, text):
        with self.lock:
            self.complaints.append(text)

    def note(self, row, res, why, sec):
        with self.lock:
            self.seen[row.key()] = (res, why)
            self.counts["passed" if expected(row, res) else "failed"] += 1
            if self.results:
                self.results.write(json.dumps({
                    "test": row.test, "home": row.home, "status": row.status,
                    "result": res, "seconds": round(sec, 2), "first": why}) + "\n")
                self.results.flush()
            if not expected(row, res):
                text = "%s (%s): %s, the table says %s  %s" % (
                    row.test, row.home, res, row.status, why)
                self.complaints.append(text)
                print(text, flush=True)

    def all(self, rows):
        chosen = self.choose(rows)
        path = binary()
        for home in HOMES:
            here = [r for r in chosen if r.home == home]
            if here:
                self.home(path, home, sorted(here, key=duration, reverse=True))
        return chosen


def duration(row, known={}):
    """How long Samba took, to start long tests first."""
    if not known:
        for l in open(os.path.join(HERE, "samba-4.17-results.jsonl")):
            r = json.loads(l)
            known[r["test"]] = r["seconds"]
    return known.get(row.test, 0)


def expected(row, res):
    return (res in ("pass",)) == (row.status == "pass")


def update(rows, seen):
    """Write what happened into the table. A test that skips itself says why."""
    labels = torture.rules(os.path.join(HERE, "unfit.txt"), 3)
    for r in rows:
        res, why = seen.get(r.key(), (None, ""))
        if res == "pass":
            r.status, r.reason = "pass", ""
        elif res is not None and r.status == "pass":
            label = torture.first_match(labels, r.test) or ("", "")
            r.status = "skip" if res == "skip" else "xfail"
            r.reason = re.sub(r"^\S*:\d+:? *|\s+", " ", why).strip() or res
            if label[0] in ("config", "ad"):
                r.status, r.reason = "skip", "%s: %s" % label
    save(rows)


def readme(rows):
    per = collections.OrderedDict()
    total = collections.Counter()
    for r in sorted(rows, key=Row.key):
        suite = ".".join(r.test.split(".")[:2])
        per.setdefault(suite, collections.Counter())[r.status] += 1
        total[r.status] += 1
        if r.reference == "pass":
            per[suite]["samba"] += 1
            total["samba"] += 1
    text = open(os.path.join(HERE, "README.in.md")).read()
    lines = ["| suite | cases | pass | xfail | skip | Samba 4.17 passes |",
             "|---|---|---|---|---|---|"]
    for s, c in list(per.items()) + [("**all**", total)]:
        lines.append("| %s | %d | %d | %d | %d | %d |" % (
            s, c["pass"] + c["xfail"] + c["skip"], c["pass"], c["xfail"],
            c["skip"], c["samba"]))
    with open(os.path.join(HERE, "README.md"), "w") as f:
        f.write(text.replace("{table}", "\n".join(lines)))


def main():
    p = argparse.ArgumentParser(usage=__doc__, add_help=True)
    p.add_argument("--sample")
    p.add_argument("--seed", default="0")
    p.add_argument("--passing", action="store_true")
    p.add_argument("--only")
    p.add_argument("--mode", choices=("signed", "encrypted"))
    p.add_argument("--update", action="store_true")
    p.add_argument("--readme", action="store_true")
    p.add_argument("--workers", type=int, default=6)
    p.add_argument("--results")
    args = p.parse_args()
    rows = load()
    if args.readme:
        readme(rows)
        return
    run = Run(args)
    run.all(rows)
    if args.update:
        update(rows, run.seen)
        readme(rows)
    for c in run.complaints:
        print(c)
    if run.again:
        print("ran again by themselves: %d: %s" % (len(run.again), " ".join(run.again)))
    failed = max(run.counts["failed"], 1 if run.complaints else 0)
    print("%d passed, %d failed" % (run.counts["passed"], failed))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
