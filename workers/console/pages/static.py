"""Style and scripts: a browser asks for each once, since what changes has another address."""

from hashlib import sha256
from mimetypes import guess_type
from pathlib import Path

from fastapi.responses import Response
from starlette.exceptions import HTTPException


class Static:
    """The files of a folder as they are now: where they are replaced before a server is started anew, those that come
    must not be kept for a year as those that were. They name one another beside themselves."""

    def __init__(self, folder: Path) -> None:
        self._files = {file.name: file.read_bytes() for file in sorted(folder.iterdir())}
        content = sha256()
        for name, held in self._files.items():
            content.update(name.encode() + held)
        self.address = f"/static/{content.hexdigest()[:16]}"

    async def answer(self, name: str) -> Response:
        if name not in self._files:
            raise HTTPException(404)
        kept = {"cache-control": "public, max-age=31536000, immutable"}
        return Response(self._files[name], headers=kept, media_type=guess_type(name)[0])


STATIC = Static(Path(__file__).parents[1] / "static")
