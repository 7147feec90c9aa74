"""Runs in the guest of tests/kernel-lab.sh as root, and prints one line of JSON for each case.

usage: guest.py DISK LISTS    where partition N of DISK holds the case that line N of LISTS/order names
"""

import hashlib
import json
import os
import re
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

DISK, LISTS = sys.argv[1:]


class Wrong(Exception):
    """What the kernel sees is not what should be there."""


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.returncode, " ".join(done.stdout.decode(errors="replace").split())


def must(*command):
    code, text = run(*command)
    if code != 0:
        raise Wrong(f"{command[0]} ends with {code}: {text}")


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def noise(seed, length):
    return hashlib.shake_128(str(seed).encode()).digest(length)


def compare(root, files, what, times):
    """Names, kinds, sizes, contents and times of all files below root; directories only where the list has them."""
    seen = {}
    for at, dirs, names in os.walk(root):
        for name in dirs:
            seen[os.path.relpath(os.path.join(at, name), root)] = None
        for name in names:
            path = os.path.join(at, name)
            stat = os.lstat(path)
            seen[os.path.relpath(path, root)] = [stat.st_size, digest(path), int(stat.st_mtime)]
    for name in sorted(files.keys() | {n for n, s in seen.items() if s or times}):
        want, got = files.get(name, "nothing"), seen.get(name, "nothing")
        if not times and want and got and "nothing" not in (want, got):
            want, got = want[:2], got[:2]
        if want != got:
            raise Wrong(f"{what}: {name!r} should be {want}, is {got}")


def work(root, files, prefix=""):
    """Writes, overwrites and deletes; gives what should be there afterwards."""
    files = dict(files)

    def put(name, content):
        with open(os.path.join(root, name), "wb") as file:
            file.write(content)
        files[name] = [len(content), hashlib.sha256(content).hexdigest(), 0]

    plain = [name for name, node in sorted(files.items()) if node]
    for name in plain[::3]:
        os.unlink(os.path.join(root, name))
        del files[name]
    for name in plain[1::7]:
        if name in files:
            put(name, noise(name, 5000))
    for name in ("lab", "lab/deep", "lab/deep/Grüße – 日本"):
        os.mkdir(os.path.join(root, name))
        files[name] = None
    for number in range(40):
        put(f"lab/a file written by the kernel {number}", noise(number, 700 * number))
    for number in range(0, 40, 2):
        name = f"lab/a file written by the kernel {number}"
        os.unlink(os.path.join(root, name))
        del files[name]
    free = os.statvfs(root)
    put("lab/large", noise("large", min(6 << 20, free.f_bavail * free.f_frsize // 2)))
    return files


def blocks(device):
    with open(device, "rb") as file:
        file.seek(1024)
        sb = file.read(1024)
    low, log = struct.unpack_from("<4xI16xI", sb)
    return low, 1024 << log


def ext4(device, root, case):
    files = case["files"]
    must("mount", "-t", "ext4", device, root)
    try:
        compare(root, files, "as mounted", False)
        before, size = blocks(device)
        code, text = run("resize2fs", device)
        after, _ = blocks(device)
        compare(root, files, "after resize2fs", False)
        files = work(root, files)
    finally:
        must("umount", root)
    must("mount", "-t", "ext4", "-o", "ro", device, root)
    try:
        compare(root, {n: f for n, f in files.items() if f}, "at the end", False)
    finally:
        must("umount", root)
    return {"code": code, "text": text, "before": before * size, "after": after * size}


def vfat(device, root, case):
    files = case["files"]
    options = "utf8=1,tz=UTC,shortname=mixed"
    must("mount", "-t", "vfat", "-o", options, device, root)
    try:
        compare(root, files, "as mounted", True)
        files = work(root, files)
    finally:
        must("umount", root)
    must("mount", "-t", "vfat", "-o", options + ",ro", device, root)
    try:
        compare(root, files, "at the end", False)
    finally:
        must("umount", root)
    return {"code": 0, "text": "written", "before": 0, "after": 0}


def judge(number, name):
    device = f"{DISK}{number}"
    root = f"/mnt/{number}"
    os.makedirs(root, exist_ok=True)
    with open(f"{LISTS}/{name}.json", encoding="utf-8") as file:
        case = json.load(file)
    try:
        found = {"ext4": ext4, "vfat": vfat}[case["kind"]](device, root, case)
    except (Wrong, OSError) as error:
        found = {"wrong": str(error)}
    print(json.dumps({"case": name, "partition": number, **found}), flush=True)


def main():
    with open(f"{LISTS}/order", encoding="utf-8") as file:
        names = file.read().split()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(judge, range(2, 2 + len(names)), names))
    # What the kernel itself has to say about any of them.
    name = os.path.basename(DISK)
    log = subprocess.run(["dmesg", "--notime"], stdout=subprocess.PIPE, check=False).stdout.decode(errors="replace")
    for line in log.splitlines():
        # `EXT4-fs error (device vdb2): ...` and `FAT-fs (vdb3): Volume was not properly unmounted. ...`
        hit = re.search(rf"(?:EXT4|FAT)-fs\b.*\((?:device )?{name}(\d+)\)", line)
        if hit and re.search(r"\b(error|warning|corrupt\w*|bad|not properly)\b", line, re.IGNORECASE):
            print(json.dumps({"partition": int(hit[1]), "kernel": line}), flush=True)


main()
