"""`make protos`: generate the stubs and their type stubs from the `.proto` files beside them."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Write `*_pb2.py`, `*_pb2_grpc.py` and their `.pyi` next to each file; the compiler's exit code."""
    from grpc_tools import protoc

    files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "protos").rglob("*.proto"))
    well_known = Path(protoc.__file__).parent / "_proto"
    outputs = [f"--{kind}_out={ROOT}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    return int(protoc.main(["protoc", f"-I{ROOT}", f"-I{well_known}", *outputs, *files]))


if __name__ == "__main__":
    sys.exit(main())
