"""Run smbtorture tests one by one against any SMB server.

usage: torture.sh HOST PORT SHARE[,SHARE...] USER PASS OUTFILE.jsonl [SUITE-REGEX]

SHARE may name several shares: then one worker runs per share (tests collide on
file names, so two workers must never share a directory).
SUITE-REGEX is matched (re.search) on the test name, default '^smb2\\.'.
Environment:
  TIMEOUT=120        seconds per test
  TARGET=samba3      smbtorture --target (samba3|samba4|win7|w2k8|w2k12|other);
                     empty = smbtorture's default
  OPTS='...'         more smbtorture options, shell quoting
                     ('--option=torture:user2name=bob --option=torture:user2password=x')
  MAP=file           per-test overrides: 'REGEX | share or - | more options'
  UNFIT=file         'REGEX | class | note' labels put in the result (default:
                     unfit.txt beside this file; UNFIT=none for no labels)
  SKIP_UNFIT=1       do not run tests whose class is manual, bench or forever
  RETRY=1            run a test that did not pass once more; a pass then is
                     recorded as pass with "flaky": true
  LIST=file          a saved 'smbtorture --list' (else it is asked)
  APPEND=1           append to OUTFILE and skip tests already in it
Output: one JSON object a line: test, suite, result (pass|fail|error|skip|
timeout), seconds, first, share, class, note, flaky; OUTFILE.md gets the table.
Exit status: 0 when nothing failed.

run.py uses the same functions with the table of what must pass.
"""
import collections
import concurrent.futures
import json
import os
import queue
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.realpath(__file__))
SKIP_CLASSES = ("manual", "bench", "forever")
KINDS = ("pass", "fail", "error", "timeout", "skip")


def short(name):
    """smb2.a.b.b -> smb2.a.b (smbtorture repeats the name of simple tests)."""
    n = len(name)
    for i in range(1, n):
        if name[i] == "." and name[:i].endswith("." + name[i + 1:]):
            return name[:i]
    return name


def listing(saved=None):
    """Full names of all tests, by short name."""
    text = (open(saved).read() if saved else
            subprocess.run(["smbtorture", "--list"], stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL, text=True).stdout)
    names = (line.strip() for line in text.split("\n"))
    return {short(n): n for n in names if "." in n}


def rules(path, cols):
    """Rows of 'REGEX | column | ...'."""
    rows = []
    if path and path != "none":
        for line in open(path):
            if line.strip() and not line.startswith("#"):
                f = [x.strip() for x in line.split(" | ")] + [""] * cols
                rows.append((re.compile(f[0]),) + tuple(f[1:cols]))
    return rows


def first_match(rows, name):
    for r in rows:
        if r[0].search(name):
            return r[1:]
    return None


def verdict(out, rc):
    """(result, first line of why) out of subunit text."""
    for m in re.finditer(r"^(failure|error|skip|success): (.*)$", out, re.M):
        kind, rest = m.groups()
        if kind == "success":
            return "pass", ""
        why = ""
        if rest.endswith("["):
            tail = [t.strip() for t in out[m.end():].split("\n")]
            tail = [t for t in tail if t and t != "]"]
            why = tail[0] if tail else ""
        return {"failure": "fail"}.get(kind, kind), why
    lines = [l for l in out.split("\n") if l.strip() and not
             re.match(r"(smbtorture 4|Using seed|time: |test: |progress|\s*$)", l)]
    why = lines[-1].strip() if lines else ""
    for l in lines:
        if "NT_STATUS" in l or "Unknown torture" in l or "PANIC" in l:
            why = l.strip()
            break
    return "error", "no verdict, rc %s: %s" % (rc, why)


class Server:
    """Where and how tests run."""

    def __init__(self, host, port, user, password, options=(), target="samba3",
                 timeout=120.0):
        self.host, self.port = host, str(port)
        self.credentials = user + "%" + password
        self.options = list(options)
        self.target, self.timeout = target, timeout

    def once(self, test, share, extra=(), timeout=None, target=None):
        """Run one test: (result, why, seconds)."""
        with tempfile.TemporaryDirectory(prefix="torture.") as tmp:
            where = "//%s/%s" % (self.host, share)
            if test.startswith("rpc."):
                where = "ncacn_np:%s[smb2]" % self.host
            cmd = ["smbtorture", where, "-p", self.port,
                   "-U", self.credentials, "--configfile=/dev/null",
                   "--format=subunit", "--basedir=" + tmp,
                   "--option=torture:progress=no"]
            if target or self.target:
                cmd.append("--target=" + (target or self.target))
            cmd += self.options + list(extra) + [test]
            start = time.time()
            out, rc = run_bounded(cmd, tmp, timeout or self.timeout)
        result, why = verdict(out, rc)
        if rc is None and result in ("error", "pass"):
            last = [l for l in out.split("\n") if l.strip() and not
                    l.startswith("time:")]
            result = "timeout"
            why = "last output: " + (last[-1].strip() if last else "")
        return result, why[:300], time.time() - start


def run_bounded(cmd, tmp, timeout):
    """Output and exit status, None when time was up; nothing is left running."""
    with open(os.path.join(tmp, "out"), "w+b") as f:
        p = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=f,
                             stderr=subprocess.STDOUT, cwd=tmp,
                             start_new_session=True)
        try:
            rc = p.wait(timeout=timeout)
        except subprocess.TimeoutExpired:
            rc = None
        try:
            os.killpg(p.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        p.wait()
        f.seek(0)
        return f.read(4 << 20).decode("utf-8", "replace"), rc


def spread(items, shares, one):
    """Run one(item, share) for all items, one at a time per share."""
    pool = queue.Queue()
    for s in shares:
        pool.put(s)

    def step(item):
        share = pool.get()
        try:
            one(item, share)
        finally:
            pool.put(share)

    with concurrent.futures.ThreadPoolExecutor(len(shares)) as ex:
        list(ex.map(step, items))


def main():
    a = sys.argv[1:]
    if len(a) < 6 or a[0] in ("-h", "--help"):
        sys.exit(__doc__)
    host, port, shares, user, pw, outfile = a[:6]
    rx = re.compile(a[6] if len(a) > 6 else r"^smb2\.")
    env = os.environ
    server = Server(host, port, user, pw, shlex.split(env.get("OPTS", "")),
                    env.get("TARGET", "samba3"), float(env.get("TIMEOUT", "120")))
    overrides = rules(env.get("MAP"), 3)
    unfit = env.get("UNFIT", os.path.join(HERE, "unfit.txt"))
    labels = rules(unfit if unfit == "none" or os.path.exists(unfit) else None, 3)
    names = listing(env.get("LIST"))
    done = set()
    if env.get("APPEND") and os.path.exists(outfile):
        done = {json.loads(l)["test"] for l in open(outfile) if l.strip()}
    tests = [n for n in names if rx.search(n) and n not in done]
    sink = open(outfile, "a" if env.get("APPEND") else "w")
    lock = threading.Lock()
    count = [0]

    def one(name, share):
        label = first_match(labels, name) or ("", "")
        override = first_match(overrides, name) or ("-", "")
        share = share if override[0] in ("", "-") else override[0]
        extra = shlex.split(override[1])
        r = {"test": name, "suite": ".".join(name.split(".")[:2]), "share": share}
        if env.get("SKIP_UNFIT") and label[0] in SKIP_CLASSES:
            res, why, sec = "skip", "not run: " + label[0], 0.0
        else:
            res, why, sec = server.once(names[name], share, extra)
            if res not in ("pass", "skip") and env.get("RETRY"):
                again = server.once(names[name], share, extra)
                if again[0] in ("pass", "skip"):
                    r["flaky"], r["flaky_first"] = True, why
                    res, why, sec = again
        r.update(result=res, seconds=round(sec, 2), first=why)
        if label[0]:
            r["class"], r["note"] = label
        with lock:
            count[0] += 1
            sink.write(json.dumps(r) + "\n")
            sink.flush()
            print("%4d/%d %-7s %6.1fs %s%s" % (
                count[0], len(tests), res, sec, name,
                "  " + why[:110] if why else ""), flush=True)

    spread(tests, shares.split(","), one)
    sink.close()
    sys.exit(1 if summary(outfile) else 0)


def summary(outfile):
    rows = [json.loads(l) for l in open(outfile) if l.strip()]
    per, tot = collections.OrderedDict(), collections.Counter()
    for r in sorted(rows, key=lambda r: r["suite"]):
        per.setdefault(r["suite"], collections.Counter())[r["result"]] += 1
        tot[r["result"]] += 1
    with open(re.sub(r"\.jsonl$", "", outfile) + ".md", "w") as f:
        f.write("| suite | tests | " + " | ".join(KINDS) + " |\n")
        f.write("|---" * 7 + "|\n")
        for s, c in list(per.items()) + [("**total**", tot)]:
            f.write("| %s | %d | %s |\n" % (s, sum(c.values()), " | ".join(
                str(c[k]) for k in KINDS)))
        for k in KINDS[1:]:
            f.write("\n## %s (%d)\n\n" % (k, tot[k]))
            for r in sorted(rows, key=lambda r: r["test"]):
                if r["result"] == k:
                    f.write("- `%s` %s%s\n" % (r["test"], "[%s] " % r["class"]
                            if r.get("class") else "", r["first"]))
    bad = tot["fail"] + tot["error"] + tot["timeout"]
    sys.stdout.flush()
    print("%d passed, %d failed, %d skipped (of the failed: %d error, %d timeout; "
          "%d flaky)" % (tot["pass"], bad, tot["skip"], tot["error"],
                         tot["timeout"], sum(1 for r in rows if r.get("flaky"))))
    return bad


if __name__ == "__main__":
    main()
