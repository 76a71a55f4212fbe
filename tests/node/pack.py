#!/usr/bin/env python3
"""Pack programs into an image archive, without a container engine.

usage: pack.py NAME OUT.tar [--entrypoint PATH] [--user UID] FILE[=PATH]...

FILE becomes PATH in the image, or stays where it is, with what it is linked to, as ldd says. The first is the entrypoint
unless another is named. What is packed of the same files is the same, byte for byte.
"""
import argparse
import hashlib
import io
import json
import os
import platform
import subprocess
import tarfile


def linked(program):
    """The shared libraries that a program is loaded with, by the paths that it asks for; none where it is static."""
    listing = subprocess.run(["ldd", program], capture_output=True, text=True)
    if listing.returncode:
        return []
    found = [line.split(" (")[0].split(" => ")[-1].strip() for line in listing.stdout.splitlines()]
    missing = [line for line in found if line.endswith("not found")]
    if missing:
        raise SystemExit(f"{program}: {', '.join(missing)}")
    return [path for path in found if path.startswith("/")]


def archive(entries):
    """A tar archive of `(path, bytes or None for a folder, mode)`, with nothing in it of when and by whom."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, data, mode in entries:
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.mode = mode
            if data is None:
                entry.type = tarfile.DIRTYPE
            else:
                entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data or b""))
    return out.getvalue()


def read(path):
    with open(path, "rb") as file:
        return file.read()


def rooted(files):
    """The entries of an image's only layer: folders first, and a /tmp for whoever wants one."""
    folders = {"/tmp"}
    for path in files:
        while (path := os.path.dirname(path)) != "/":
            folders.add(path)
    entries = [(path, None, 0o1777 if path == "/tmp" else 0o755) for path in sorted(folders)]
    for path, source in sorted(files.items()):
        entries.append((path, read(source), 0o755 if os.access(source, os.X_OK) else 0o644))
    return entries


def main():
    options = argparse.ArgumentParser(usage=__doc__)
    options.add_argument("name")
    options.add_argument("out")
    options.add_argument("--entrypoint")
    options.add_argument("--user", default="")
    options.add_argument("files", nargs="+")
    options = options.parse_args()

    files = {}
    for source, _, path in (file.partition("=") for file in options.files):
        files[path or os.path.abspath(source)] = source
        if os.access(source, os.X_OK):
            files.update((library, library) for library in linked(source))

    layer = archive(rooted(files))
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
        "os": "linux",
        "config": {"Entrypoint": [options.entrypoint or next(iter(files))], "User": options.user},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [options.name], "Layers": ["layer.tar"]}]
    parts = [("layer.tar", layer), ("config.json", json.dumps(config).encode()), ("manifest.json", json.dumps(manifest).encode())]
    with open(options.out, "wb") as out:
        out.write(archive([(path, data, 0o644) for path, data in parts]))


if __name__ == "__main__":
    main()
