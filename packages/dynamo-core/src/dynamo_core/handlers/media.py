"""Images in requests. The frontend hands them on unread: addresses, in the order of their places in the
prompt, where it has left one token of the model's for each."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from dynamo_core.errors import InvalidArgument
from dynamo_core.handlers.types import Request

IMAGES = "image_url"
MAX_SHOWN = 60


def refuse_media(request: Request, *, but: Collection[str] = ()) -> None:
    """Raise `InvalidArgument` for a request with images, video or audio other than `but`, which this worker
    does not take: an answer to its text alone would look like one to all of it."""
    if media := sorted(set(request.get("multi_modal_data") or ()) - set(but)):
        takes = "text and images only" if IMAGES in but else "text only"
        raise InvalidArgument(
            f"this worker takes {takes}, but the request has multi_modal_data ({', '.join(media)}); "
            "leave it out"
        )


def image_urls(request: Request, *, domains: Collection[str]) -> list[str]:
    """The addresses of a request's images.

    They come inside the request, as `data:` URLs, or from one of `domains`. From anywhere else, whoever may
    send requests could have the worker read what only it can reach (CWE-918), or a file. Raises
    `InvalidArgument`, also for other media.
    """
    refuse_media(request, but=[IMAGES])
    images = (request.get("multi_modal_data") or {}).get(IMAGES) or ()
    urls = [image["Url"] for image in images]
    for url in urls:
        _check_address(url, domains)
    return urls


def _check_address(url: str, domains: Collection[str]) -> None:
    if url[:5].lower() == "data:":
        return
    try:
        address = urlsplit(url)
        host, scheme = address.hostname, address.scheme
    except ValueError:
        host, scheme = None, ""
    shown = url if len(url) <= MAX_SHOWN else f"{url[:MAX_SHOWN]}…"
    if scheme not in ("http", "https") or host is None:
        raise InvalidArgument(f"an image must be a data: or an https: URL, but one is {shown!r}")
    if host not in domains:
        raise InvalidArgument(
            f"this worker does not fetch images from {host}: send the image itself as a data: URL, or start "
            f"the worker with --allowed-media-domains {host}"
        )
