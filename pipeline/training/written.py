"""Files that are whole or not there: what is cut short by a full disk must not be taken for a result."""

from pathlib import Path

from pipeline.durable import names_to_disk, to_disk


def write_whole(path: Path, text: str) -> None:
    """UTF-8, written beside the file and put into its place at the end. What a file name holds that is no text is
    written as an escape."""
    draft = path.with_name(path.name + ".part")
    try:
        draft.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
        to_disk(draft)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    names_to_disk([path.parent])
