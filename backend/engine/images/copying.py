"""What a COPY, ADD or WORKDIR lays into an image: a layer written straight from the context."""

import posixpath
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from backend.engine.images.context import Context, ContextError, is_archive, unpack_added
from backend.engine.images.dockerfile import Copy
from backend.engine.images.layers import LayerWriter, Listing, folder_entries


@dataclass
class CopyPlan:
    """Names in the image (no first slash) → the file that comes there, None for a folder."""

    step: Copy
    context: Context
    listing: Listing
    scratch: Path
    pulse: Callable[[], None] = lambda: None
    names: dict[str, Path | None] = field(default_factory=dict)

    def gather(self) -> "CopyPlan":
        """Choose the files and their places as Docker does.

        Raises:
            ContextError: a source does not exist, or several go to a target that is no folder.
        """
        step = self.step
        target = self.listing.resolve(step.target)
        chosen = [path for source in step.sources for path in self.context.chosen(source)]
        folder = step.target.endswith("/") or target in self.listing.folders
        if len(chosen) > 1 and not folder:
            raise ContextError(
                f"COPY failed: {step.target}: several sources need a folder as target"
            )
        for number, source in enumerate(chosen):
            path = self.context.folder / source
            if path.is_dir():
                self._take_folder(self.context, source, target)
            elif step.unpack and is_archive(path):
                added = self.scratch / f"added-{number}"
                unpack_added(path, added, self.pulse)
                self._take_folder(Context(added), "", target)
            else:
                self._put(posixpath.join(target, path.name) if folder else target, path)
        return self

    def _take_folder(self, context: Context, source: str, target: str) -> None:
        self._put(target, None)
        for relative, path in context.files(source):
            self._put(posixpath.join(target, relative), path)

    def _put(self, name: str, path: Path | None) -> None:
        """A place of the image; folders on the way there that are links are followed, as in Docker."""
        folder, _, base = name.rpartition("/")
        place = posixpath.join(self.listing.resolve(folder), base)
        if path is None:
            place = self.listing.resolve(place)
        if place:
            self.names[place] = path

    def write(self, target: Path) -> LayerWriter:
        """Write the layer's file; the closed writer tells digest, size and count."""
        mode = self.step.mode
        with LayerWriter(target, self.pulse) as writer:
            for name in sorted({*self.names, *folder_entries(self.names)}):
                path = self.names.get(name)
                if path is None:
                    writer.folder(name)
                    continue
                status = path.stat()
                executable = bool((status.st_mode if mode is None else mode) & 0o100)
                with path.open("rb") as content:
                    writer.file(name, content, status.st_size, executable=executable)
        return writer


def write_folders(names: list[str], target: Path) -> LayerWriter:
    """A layer of empty folders (WORKDIR)."""
    with LayerWriter(target) as writer:
        for name in names:
            writer.folder(name)
    return writer
