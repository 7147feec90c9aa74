"""The host's part of tests/kernel-lab.sh: one disk of all cases, and the judgement of it afterwards.

usage: disk.py pack FOLDER      makes FOLDER/lab.img from FOLDER/*.img, and FOLDER/map
       disk.py judge FOLDER     reads FOLDER/answers, lets the file system checkers look, prints a Markdown table
"""

import json
import os
import subprocess
import sys

MIB = 1 << 20
# The first partition carries the guest's script and lists.
TOOLS = 16 * MIB


def copy(source, target, at):
    """Copies the parts of a sparse file that hold something."""
    end = os.fstat(source).st_size
    here = 0
    while here < end:
        try:
            here = os.lseek(source, here, os.SEEK_DATA)
        except OSError:
            return
        hole = os.lseek(source, here, os.SEEK_HOLE)
        while here < hole:
            piece = os.pread(source, min(MIB, hole - here), here)
            os.pwrite(target, piece, at + here)
            here += len(piece)


def pack(folder):
    names = sorted(n[:-4] for n in os.listdir(folder) if n.endswith(".img"))
    with open(f"{folder}/order", "w", encoding="utf-8") as file:
        file.write("\n".join(names))
    subprocess.run(["tar", "-C", folder, "--exclude=*.img", "-cf", f"{folder}/tools.tar", "guest.py", "order"]
                   + [f"{n}.json" for n in names], check=True)
    if os.path.getsize(f"{folder}/tools.tar") > TOOLS:
        sys.exit("the lists are too long for their partition")
    places = [(f"{folder}/tools.tar", MIB, TOOLS)]
    for name in names:
        path = f"{folder}/{name}.img"
        start = places[-1][1] + places[-1][2]
        places.append((path, start, -(-os.path.getsize(path) // MIB) * MIB))
    disk = f"{folder}/lab.img"
    total = places[-1][1] + places[-1][2] + MIB
    target = os.open(disk, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.ftruncate(target, total)
    table = "label: gpt\n" + "".join(f"start={s // 512}, size={n // 512}\n" for _, s, n in places)
    subprocess.run(["sfdisk", "-q", disk], input=table.encode(), check=True)
    with open(f"{folder}/map", "w", encoding="utf-8") as file:
        for path, start, length in places:
            source = os.open(path, os.O_RDONLY)
            copy(source, target, start)
            os.close(source)
            file.write(f"{start} {length}\n")
            os.unlink(path)
    os.close(target)


def check(folder, kind, start, length):
    """The checker's first complaint, empty when there is none."""
    disk = f"{folder}/lab.img"
    if kind == "ext4":
        programs = ["e2fsck", *filter(None, os.environ.get("CEIL_E2FSCK", "").split(":"))]
        checkers = [[program, "-fn", f"{disk}?offset={start}"] for program in programs]
    else:
        alone = f"{folder}/alone"
        with open(disk, "rb") as source, open(alone, "wb") as target:
            os.ftruncate(target.fileno(), length)
            source.seek(start)
            for _ in range(length // MIB):
                piece = source.read(MIB)
                if piece.strip(b"\0"):
                    target.write(piece)
                else:
                    target.seek(MIB, os.SEEK_CUR)
        checkers = [["fsck.vfat", "-n", alone]]
    for checker in checkers:
        done = subprocess.run(checker, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            lines = [line for line in done.stdout.decode(errors="replace").splitlines() if line]
            return f"{checker[0]} {done.returncode}: " + "; ".join(lines[:12])
    return ""


def mib(size):
    return f"{size / MIB:.1f}"


def judge(folder):
    with open(f"{folder}/order", encoding="utf-8") as file:
        names = file.read().split()
    with open(f"{folder}/map", encoding="utf-8") as file:
        places = [tuple(map(int, line.split())) for line in file]
    answers, kernel = {}, {}
    with open(f"{folder}/answers", encoding="utf-8") as file:
        for line in file:
            if line.startswith("{"):
                found = json.loads(line)
                if "case" in found:
                    answers[found["case"]] = found
                else:
                    kernel.setdefault(found["partition"], []).append(found["kernel"])
    bad = []
    print("| case | files | kernel | MiB before | MiB after | checker |")
    print("| --- | --- | --- | --- | --- | --- |")
    for number, name in enumerate(names, 2):
        found = answers.get(name, {"wrong": "no answer"})
        with open(f"{folder}/{name}.json", encoding="utf-8") as file:
            kind = json.load(file)["kind"]
        start, length = places[number - 1]
        complaint = check(folder, kind, start, length)
        if "wrong" in found:
            bad.append(f"{name}: {found['wrong']}")
            print(f"| {name} | **differ** | | | | {complaint or 'clean'} |")
            continue
        if complaint:
            bad.append(f"{name}: {complaint}")
        bad.extend(f"{name}: the kernel says: {line}" for line in kernel.get(number, []))
        did = found["text"]
        if kind == "ext4":
            did = "grown online" if found["code"] == 0 else f"refused: {found['text']}"
            control = answers.get(name.replace("-ours", "-control"), found)
            if found["code"] != 0 and control.get("code") == 0:
                bad.append(f"{name}: the kernel grows the control, but not ours: {found['text']}")
            # Less than a group may be left over.
            if found["code"] == 0 and control is found and length - found["after"] > 128 * MIB:
                bad.append(f"{name}: grown to {found['after']} of {length} only")
            if found["code"] == 0 and control.get("code") == 0 and found["after"] < control["after"]:
                bad.append(f"{name}: the control became larger: {control['after']}, ours {found['after']}")
        sizes = f"{mib(found['before'])} | {mib(found['after'])}" if kind == "ext4" else " | "
        print(f"| {name} | same | {did} | {sizes} | {'clean' if not complaint else '**wrong**'} |")
    for line in bad:
        print(f"kernel-lab: {line}", file=sys.stderr)
    print(f"kernel-lab: {len(names)} cases, {len(bad)} complaints", file=sys.stderr)
    sys.exit(1 if bad else 0)


{"pack": pack, "judge": judge}[sys.argv[1]](sys.argv[2])
