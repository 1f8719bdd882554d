#!/usr/bin/env python3
"""Checks that every folder of src/ includes only itself and folders above it in the packet's path.

The order is WEIR_LAYERS in cmake/layers.cmake. tools/ and flows/ may include only base/ and netlink/,
for they serve the kernel too. Prints each violation and ends with 'N passed, N failed'.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
KERNEL_SIDE = {"tools", "flows"}
ALLOWED_TO_KERNEL_SIDE = {"base", "netlink"}


def layers():
    text = (ROOT / "cmake" / "layers.cmake").read_text()
    return re.search(r"set\(WEIR_LAYERS\s+([^)]*)\)", text).group(1).split()


def included_folders(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = re.match(r'\s*#\s*include\s+"([^"/]+)/', line)
        if match:
            yield number, match.group(1)


def allowed_for(folder, order):
    if folder in KERNEL_SIDE:
        return ALLOWED_TO_KERNEL_SIDE | {folder}
    return set(order[: order.index(folder) + 1]) - KERNEL_SIDE


def main():
    order = layers()
    passed = failed = 0
    for folder in sorted(p.name for p in (ROOT / "src").iterdir() if p.is_dir()):
        if folder not in order:
            print(f"src/{folder} is not in WEIR_LAYERS of cmake/layers.cmake")
            failed += 1
            continue
        allowed = allowed_for(folder, order)
        for path in sorted((ROOT / "src" / folder).rglob("*.[hc]*")):
            bad = [(n, f) for n, f in included_folders(path) if f in order and f not in allowed]
            for number, target in bad:
                print(f"{path.relative_to(ROOT)}:{number}: {folder}/ may not include {target}/, which is below it")
            passed, failed = (passed, failed + 1) if bad else (passed + 1, failed)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
