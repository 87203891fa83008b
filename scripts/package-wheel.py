#!/usr/bin/env python3
"""package-wheel.py STAGING VERSION TARGET: a wheel of what `cmake --install` put below STAGING, with the libraries that it needs inside.

Program, plugins and the library for attached programs lie side by side in the package, where they find each other; a script starts the
program. Libraries keep their names, for OpenBLAS is opened by its own, and are found by a path relative to who needs them (patchelf).
What belongs to the system that runs it stays out: the C library, the GPU's drivers and Vulkan's loader."""
import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile

SYSTEM = re.compile(r"(ld-linux.*|lib(c|m|dl|pthread|rt|gcc_s|stdc\+\+|cuda|nvidia-ml|vulkan))\.so")
OPENED = ["libopenblas.so.0"]  # at run time: no program lists them
LAUNCHER = """#!python
import os
import sys

import steptop

program = os.path.join(os.path.dirname(os.path.abspath(steptop.__file__)), "steptop")
os.execv(program, [program] + sys.argv[1:])
"""
METADATA = """Metadata-Version: 2.1
Name: steptop
Version: %s
Summary: top for a training step: the time of every kernel, by layer and phase, live in the terminal
Requires-Python: >=3.6
"""


def run(*words):
    return subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True).stdout


def needed(path):
    # Name to file of all that the loader would take from here, and what those take.
    found = {}
    for line in run("ldd", path).splitlines():
        match = re.match(r"\s*(\S+) => (/\S+)", line)
        if match and not SYSTEM.match(match.group(1)):
            found[match.group(1)] = match.group(2)
    return found


def opened(name):
    for line in run("ldconfig", "-p").splitlines():
        if line.split() and line.split()[0] == name:
            return line.split()[-1]
    raise SystemExit("%s is not installed, and belongs into the wheel" % name)


def glibc(paths):
    # The newest version of the C library that anything in here asks for.
    found = {(2, 17)}
    for path in paths:
        for major, minor in re.findall(r"GLIBC_(\d+)\.(\d+)", run("objdump", "-T", path)):
            found.add((int(major), int(minor)))
    return max(found)


def main(staging, version, target):
    package = os.path.join(target, "wheel", "steptop")
    shutil.rmtree(os.path.join(target, "wheel"), ignore_errors=True)
    os.makedirs(os.path.join(package, "libs"))
    for folder, _, files in os.walk(staging):
        for name in files:
            source = os.path.join(folder, name)
            if name == "steptop" and folder.endswith("/bin") or re.match(r"(lib)?steptop-.*\.so$", name):
                shutil.copy2(source, package)
            elif folder.endswith("/attach-python"):
                os.makedirs(os.path.join(package, "attach-python"), exist_ok=True)
                shutil.copy2(source, os.path.join(package, "attach-python"))
    own = [os.path.join(package, name) for name in os.listdir(package) if os.path.isfile(os.path.join(package, name))]
    libraries = {name: opened(name) for name in OPENED}
    for path in own + list(libraries.values()):
        libraries.update(needed(path))
    for name, path in libraries.items():
        copy = os.path.join(package, "libs", name)
        shutil.copy2(os.path.realpath(path), copy)
        os.chmod(copy, 0o755)
        run("patchelf", "--set-rpath", "$ORIGIN", copy)
    for path in own:
        run("strip", "--strip-debug", path)
        if not path.endswith("libsteptop-attach.so"):  # which needs nothing, and lives in other people's programs
            run("patchelf", "--set-rpath", "$ORIGIN/libs", path)
    with open(os.path.join(package, "__init__.py"), "w") as file:
        file.write('"""The command `steptop` lies in this folder; there is nothing to import."""\n')

    machine = os.uname().machine
    newest = glibc(own + [os.path.join(package, "libs", name) for name in libraries])
    tag = "py3-none-manylinux_%d_%d_%s" % (*newest, machine)
    info = "steptop-%s.dist-info" % version
    files = {
        "%s/METADATA" % info: METADATA % version,
        "%s/WHEEL" % info: "Wheel-Version: 1.0\nGenerator: steptop\nRoot-Is-Purelib: false\nTag: %s\n" % tag,
        "steptop-%s.data/scripts/steptop" % version: LAUNCHER,
    }
    for name, path in libraries.items():  # their licences go with them
        owner = subprocess.run(["dpkg", "-S", os.path.realpath(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
        notice = "/usr/share/doc/%s/copyright" % owner.split(":")[0]
        if owner and os.path.exists(notice):
            with open(notice, encoding="utf-8") as file:
                files["%s/licenses/%s.txt" % (info, name)] = file.read()
    path = os.path.join(target, "steptop-%s-%s.whl" % (version, tag))
    record = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:

        def add(name, data, mode):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            wheel.writestr(entry, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append("%s,sha256=%s,%d" % (name, digest, len(data)))

        for folder, _, names in sorted(os.walk(package)):
            for name in sorted(names):
                file = os.path.join(folder, name)
                with open(file, "rb") as data:
                    add(os.path.relpath(file, os.path.dirname(package)), data.read(), os.stat(file).st_mode & 0o755)
        for name, text in files.items():
            add(name, text.encode(), 0o755 if "/scripts/" in name else 0o644)
        record.append("%s/RECORD,," % info)
        add("%s/RECORD" % info, ("\n".join(record) + "\n").encode(), 0o644)
    print(path)


main(*sys.argv[1:4])
