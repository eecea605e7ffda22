"""A picture as it travels: JPEG or PNG."""

import io

from PIL.Image import Image

from workers.camera.config import Encoding


def encoded(picture: Image, encoding: Encoding, quality: int) -> bytes:
    """quality: of JPEG, 1 to 100."""
    content = io.BytesIO()
    if encoding == "png":
        picture.save(content, "PNG", compress_level=1)
    else:
        picture.save(content, "JPEG", quality=quality)
    return content.getvalue()
