"""Makes the lists of what is installed anew: `make constraints`.

Versions that are listed stay as they are, as long as pyproject.toml allows them. To take a newer one:
`make constraints ARGS="--upgrade-package redis"`.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from uv import find_uv_bin

from deploy.supply.pins import FOLDER, PURPOSES, ROOT, blocks, listed, read

ASKED: Final = {
    "build": ("--group", "build"),
    "runtime": ("pyproject.toml",),
    "bench": ("--extra", "bench"),
    "test": ("--extra", "test"),
}
"""Where pyproject.toml says what a purpose needs, in the words of uv."""
HEADERS: Final = {
    "build": "What is installed first, and builds what comes without a wheel.",
    "runtime": "What the service runs on, beside build.txt.",
    "bench": "What benchmarks need beside build.txt and runtime.txt.",
    "test": "What tests need beside all others.",
}
MADE: Final = "Exact versions, with the SHA-256 of every file that has them. Made by `make constraints`."
OPTIONS: Final = (
    *("--quiet", "--universal", "--python-version", "3.11"),
    *("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"),
)


def make(folder: Path, arguments: Sequence[str]) -> None:
    """Write the list of each purpose, with each pin in the first of them that needs it.

    Args:
        folder: Where the lists are. Versions that they have are kept.
        arguments: More for uv, as `--upgrade-package NAME`.

    Raises:
        subprocess.CalledProcessError: if uv finds no versions that go together, or no index; nothing is changed then.
    """
    with TemporaryDirectory() as work:
        whole = Path(work) / "whole.txt"
        whole.write_text("".join(path.read_text() for path in sorted(folder.glob("*.txt"))))
        everything = [word for purpose in PURPOSES for word in ASKED[purpose]]
        _compile([*everything, "--generate-hashes", "--output-file", str(whole), *arguments])
        found = {read(lines).name: lines for lines in blocks(whole.read_text())}
        needs = [_names(number, whole) for number in range(1, len(PURPOSES) + 1)]
    done: set[str] = set()
    for purpose, names in zip(PURPOSES, needs, strict=True):
        lines = [f"# {HEADERS[purpose]}", f"# {MADE}"]
        lines += [line for name in found if name in names - done for line in found[name]]
        (folder / f"{purpose}.txt").write_text("\n".join(lines) + "\n")
        done |= names


def _names(purposes: int, whole: Path) -> set[str]:
    """What the first so many purposes need, of the versions that were chosen for all."""
    asked = [word for purpose in PURPOSES[:purposes] for word in ASKED[purpose]]
    text = _compile([*asked, "--constraint", str(whole)])
    return {line.split("==")[0] for line in text.splitlines() if "==" in line}


def _compile(arguments: Sequence[str]) -> str:
    command = [find_uv_bin(), "pip", "compile", *OPTIONS, *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603 - ours


def main() -> int:
    """Make the lists in their place."""
    try:
        make(FOLDER, sys.argv[1:])
    except subprocess.CalledProcessError as error:
        print("The lists in constraints/ are as they were.", file=sys.stderr)
        return error.returncode
    for purpose in PURPOSES:
        print(f"{listed(purpose).relative_to(ROOT)}: {sum(1 for _ in blocks(listed(purpose).read_text()))} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
