# Control groups that a program of findings.py runs in: a quota of processors, an end of memory. Linux's versions 1 and 2; `None` where
# none may be made here.
import contextlib
import os

ROOT = "/sys/fs/cgroup"
FILES = {  # version: controller: files and what is written into them
    1: {"cpu": lambda part: [("cpu.cfs_period_us", 100000), ("cpu.cfs_quota_us", int(part * 100000))],
        "memory": lambda most: [("memory.limit_in_bytes", int(most))],
        "io": lambda reads: [("blkio.throttle.read_iops_device", "%s %d" % reads)]},
    2: {"cpu": lambda part: [("cpu.max", "%d 100000" % int(part * 100000))],
        "memory": lambda most: [("memory.max", int(most)), ("memory.swap.max", 0)],
        "io": lambda reads: [("io.max", "%s riops=%d" % reads)]},
}


def parent(controller):
    """The version, and the group that this process is in: one within it shares what is left to that one."""
    name = {"io": "blkio"}.get(controller, controller)
    version = 1 if os.path.isdir(os.path.join(ROOT, name)) else 2
    for line in open("/proc/self/cgroup"):
        _, controllers, path = line.rstrip("\n").split(":", 2)
        if (name in controllers.split(",")) if version == 1 else not controllers:
            folder = os.path.join(ROOT, name if version == 1 else "", path.lstrip("/"))
            return version, folder if os.path.isdir(folder) else os.path.join(ROOT, name if version == 1 else "")
    raise OSError("no group of " + controller)


class Group:
    """One of `controller` with its limit: processors; bytes; for "io" a disk ("8:0") and its reads a second."""

    def __init__(self, controller, limit):
        self.version, above = parent(controller)
        self.folder = os.path.join(above, "findings-%s-%d" % (controller, os.getpid()))  # several cases may run
        self.controller = controller
        os.mkdir(self.folder)
        try:
            self.limit(limit)
        except OSError:
            os.rmdir(self.folder)
            raise

    def limit(self, limit):
        for name, value in FILES[self.version][self.controller](limit):
            with open(os.path.join(self.folder, name), "w") as file:
                file.write(str(value))

    def enter(self):
        with open(os.path.join(self.folder, "cgroup.procs"), "w") as file:
            file.write(str(os.getpid()))


@contextlib.contextmanager
def group(controller, limit):
    try:
        made = Group(controller, limit)
    except OSError:
        yield None
        return
    try:
        yield made
    finally:
        with contextlib.suppress(OSError):  # those that ran in it have ended
            os.rmdir(made.folder)


def disk_of(folder):
    """The whole disk that a folder stands on, as "8:0"; None where it is on none that the kernel numbers so."""
    device = os.stat(folder).st_dev
    path = os.path.realpath("/sys/dev/block/%d:%d" % (os.major(device), os.minor(device)))
    if os.path.exists(os.path.join(path, "partition")):
        path = os.path.dirname(path)
    try:
        with open(os.path.join(path, "dev")) as file:
            return file.read().strip()
    except OSError:
        return None
