"""What a file is for, by its bytes, whatever its format. The test is tests/model/binaries/test_recognition.py."""

from __future__ import annotations

from buildtool.model.binaries.elf import MAGIC, elf_targets
from buildtool.model.binaries.macho import macho_targets
from buildtool.model.binaries.pe import pe_targets
from buildtool.model.binaries.target import BinaryTarget, FileBytes, Reader
from buildtool.model.binaries.wasm import wasm_targets

HEAD = 4096
"""How many bytes of a file say what it is for. All of them say it exactly of universal files and of WebAssembly."""

_READERS: dict[bytes, Reader] = {
    MAGIC[:2]: elf_targets,
    b"MZ": pe_targets,
    b"\0a": wasm_targets,
    b"\xfe\xed": macho_targets,
    b"\xce\xfa": macho_targets,
    b"\xcf\xfa": macho_targets,
    b"\xca\xfe": macho_targets,
}


def targets_of(data: FileBytes) -> tuple[BinaryTarget, ...]:
    """Return what a file is for: one target, several of a universal file, none of text, data and what is damaged.

    ``data`` is the file, or its first ``HEAD`` bytes.
    """
    reader = _READERS.get(data[:2])
    return reader(data) if reader is not None else ()
