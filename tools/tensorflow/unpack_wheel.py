"""unpack_wheel.py WHEEL FOLDER: takes libtensorflow and its C headers out of a TensorFlow wheel, into FOLDER/lib and FOLDER/include."""
import os
import shutil
import sys
import zipfile

LIBRARIES = ("tensorflow/libtensorflow_cc.so.2", "tensorflow/libtensorflow_framework.so.2")
HEADER_ROOT = "tensorflow/include/"
HEADERS = ("tensorflow/c/", "tensorflow/core/platform/", "tensorflow/tsl/", "tsl/", "xla/tsl/")


def target_of(name: str) -> str | None:
    """Where an entry of the wheel goes, or None when it is not needed."""
    if name in LIBRARIES:
        return "lib/" + os.path.basename(name)
    inner = name.removeprefix(HEADER_ROOT)
    if inner != name and inner.startswith(HEADERS) and inner.endswith(".h") and ".." not in inner.split("/"):
        return "include/" + inner
    return None


def main(wheel: str, folder: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        found = {name: target for name in archive.namelist() if (target := target_of(name))}
        missing = [name for name in LIBRARIES if name not in found]
        if missing:
            raise SystemExit(f"{wheel} holds no {', '.join(missing)}: not the TensorFlow wheel that was expected")
        for name, target in found.items():
            path = os.path.join(folder, target)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with archive.open(name) as source, open(path, "wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)


main(*sys.argv[1:3])
