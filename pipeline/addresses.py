"""Addresses as people may read them."""

import re

_ADDRESS = re.compile(
    r"(?P<scheme>[^:/]+://)(?P<login>[^/?#]*@)?(?P<place>(\[[^\]@]*\]|[^/?#:@\[]*)(:\d*)?(/[^?#@]*)?)(?P<query>[?#].*)?"
)


def without_password(url: str) -> str:
    """For logs and errors. Many cameras want it in the query, Redis and storages take it there; and one with a / in it
    that is not quoted looks like a path."""
    if "://" not in url:
        return url
    found = _ADDRESS.fullmatch(url)
    if found is None:
        return f"{url.partition('://')[0]}://…"
    return f"{found['scheme']}{'…@' if found['login'] else ''}{found['place']}{'?…' if found['query'] else ''}"
