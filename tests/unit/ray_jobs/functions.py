"""Code of functions that tests let runners perform, without any library."""

PREAMBLE = """
import json, os, sys
lines = open(sys.argv[-1][1:]).read().splitlines()
properties, inputs, outputs = (json.loads(lines[i]) for i in (1, 3, 5))
out = {o["id"]: o["value"] for o in outputs}
given = {i["id"]: i["value"] for i in inputs}
def write(name, text):
    with open(out[name], "w") as file:
        file.write(text)
"""

TRIVIAL = PREAMBLE + 'write("model", "weights")\n'

# {"attempt": "refused: why" | "done"} is the model; what must be refused is in REFUSED
HOSTILE = (
    PREAMBLE
    + r"""
import ctypes, signal, socket, subprocess, time
libc = ctypes.CDLL(None, use_errno=True)
secret, state, zygotes = open(given["secret"]).read().split()
found = {"descriptors": sorted(int(n) for n in os.listdir("/proc/self/fd"))[:-1]}
def attempt(name):
    def run(action):
        try:
            answer = action()
        except (OSError, subprocess.SubprocessError) as error:
            found[name] = f"refused: {error}"
        else:
            found[name] = "done" if answer is None else answer
    return run
def call(function, *arguments):
    if getattr(libc, function)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), function)
def read(path):
    with open(path, "rb") as file:
        return None if file.read(1) else "empty"
own = set()  # names on the way to what is ours: behind the mount wall, all that exists
for place in (sys.argv[-1][1:], os.getcwd(), sys.executable, *map(os.path.realpath, given.values())):
    own.update(place.split("/"))
def listed(path):
    names = set(os.listdir(path)) - own
    return f"done: {names}" if names else "refused: nothing but our own"

attempt("read a file of the organization")(lambda: read(secret))
attempt("list the organization's folder")(lambda: listed(state))
attempt("list the other tasks")(lambda: listed(os.path.dirname(os.path.dirname(sys.argv[-1][1:]))))
attempt("list the zygotes")(lambda: listed(zygotes))
attempt("read /etc/shadow")(lambda: read("/etc/shadow"))
attempt("environment of the parent")(lambda: read(f"/proc/{os.getppid()}/environ"))
attempt("memory of the parent")(lambda: read(f"/proc/{os.getppid()}/mem"))
attempt("command line of the parent")(lambda: read(f"/proc/{os.getppid()}/cmdline"))
attempt("signal the parent")(lambda: os.kill(os.getppid(), 0))
attempt("signal process 1")(lambda: os.kill(1, 0))
attempt("kill the parent's group")(lambda: os.killpg(os.getpgid(os.getppid()), 0))
attempt("ptrace the parent")(lambda: call("ptrace", 16, os.getppid(), 0, 0))
attempt("open a TCP socket")(lambda: socket.socket(socket.AF_INET).close())
attempt("open a UDP socket")(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close())
attempt("open a netlink socket")(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close())
attempt("connect to an abstract socket")(
    lambda: socket.socket(socket.AF_UNIX).connect("\0" + os.path.basename(secret)))
attempt("unshare")(lambda: call("unshare", 0x10000000))
attempt("mount")(lambda: call("mount", b"none", out["model"].encode(), b"tmpfs", 0, None))
attempt("perf")(lambda: call("syscall", 298 if os.uname().machine == "x86_64" else 241, 0, 0, 0, 0, 0))
attempt("io_uring")(lambda: call("syscall", 425, 8, None))
attempt("shared memory segment")(lambda: call("shmget", 4711, 4096, 0o1600))
attempt("regain a capability")(lambda: call("prctl", 47, 2, 21, 0, 0))
attempt("become another user")(lambda: os.setresuid(12345, 12345, 12345))
for kind in ("shared", "sample", "opener"):
    path = given[kind] if kind != "sample" else os.path.join(given["datasamples"], "data.txt")
    attempt(f"write {kind}")(lambda: open(path, "r+").close())
    attempt(f"truncate {kind}")(lambda: os.truncate(path, 0))
    attempt(f"truncating read of {kind}")(lambda: os.close(os.open(path, os.O_RDONLY | os.O_TRUNC)))
    attempt(f"remove {kind}")(lambda: os.unlink(path))
    attempt(f"link {kind} elsewhere")(lambda: os.link(path, f"linked-{kind}"))
    attempt(f"rename {kind}")(lambda: os.rename(path, f"renamed-{kind}"))
    for change in (lambda p: os.chmod(p, 0o777), lambda p: os.utime(p, (1, 1)),
                   lambda p: os.setxattr(p, "user.x", b"1"), lambda p: os.chown(p, 12345, 12345)):
        try:
            change(path)
        except OSError:
            pass
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fchmod(descriptor, 0o777)
    except OSError:
        pass
    import fcntl
    attempt(f"flags of {kind}")(lambda: fcntl.ioctl(descriptor, 0x40086602, b"\x40\0\0\0\0\0\0\0"))
attempt("add a sample")(lambda: open(os.path.join(given["datasamples"], "new.txt"), "w").close())
attempt("write the environment")(lambda: open(os.path.join(os.path.dirname(sys.executable), "x"), "w").close())
attempt("write the arguments")(lambda: open(sys.argv[-1][1:], "a").close())
found["variables"] = sorted(os.environ)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
os.wait()
write("model", json.dumps(found))
"""
)
