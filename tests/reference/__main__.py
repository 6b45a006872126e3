"""Write every page whose text is no longer what the code says."""

from __future__ import annotations

from .pages import FOLDER, PAGES

FOLDER.mkdir(parents=True, exist_ok=True)
for name, page in PAGES.items():
    path, text = FOLDER / name, page()
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
        print(f"wrote {path.relative_to(FOLDER.parents[1])}")  # noqa: T201 - says what it did
