"""Which images, video and audio of a request a worker takes, and from where."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_core.errors import InvalidArgument
from dynamo_core.handlers.media import image_urls, refuse_media

IMAGE = {"Url": "data:image/png;base64,iVBORw0KGgo="}


def request(*urls: str, **more: Any) -> Any:
    return {"multi_modal_data": {"image_url": [{"Url": url} for url in urls], **more}}


def test_media_are_refused_by_name() -> None:
    media: Any = {"multi_modal_data": {"video_url": [IMAGE], "image_url": [IMAGE]}}
    with pytest.raises(
        InvalidArgument, match=r"text only.* multi_modal_data \(image_url, video_url\)"
    ) as caught:
        refuse_media(media)
    assert "base64" not in str(caught.value)


@pytest.mark.parametrize("request_", [{}, {"multi_modal_data": None}, {"multi_modal_data": {}}])
def test_a_request_of_text_alone_is_taken(request_: Any) -> None:
    refuse_media(request_)
    assert image_urls(request_, domains=()) == []


def test_who_takes_images_takes_nothing_else() -> None:
    with pytest.raises(InvalidArgument, match=r"text and images only.* \(audio_url\)"):
        image_urls(request(IMAGE["Url"], audio_url=[IMAGE]), domains=())


def test_images_come_in_order_inside_the_request_or_from_where_the_worker_may() -> None:
    urls = ["https://pictures.example:8443/a.png", "DATA:image/png;base64,AA==", "http://PICTURES.example/b"]
    assert image_urls(request(*urls), domains=["pictures.example"]) == urls


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://169.254.169.254/latest/meta-data", "--allowed-media-domains 169.254.169.254"),
        ("https://pictures.example.evil/a", "--allowed-media-domains pictures.example.evil"),
        ("https://pictures.example@evil/a", "--allowed-media-domains evil"),
        ("file:///etc/passwd", "must be a data: or an https: URL, but one is 'file:///etc/passwd'"),
        ("/etc/passwd.png", "but one is '/etc/passwd.png'"),
        ("aGVsbG8=" * 100, "…'"),
        ("http://[::1/a", "must be a data: or an https: URL"),
        ("https:///a.png", "must be a data: or an https: URL"),
    ],
)
def test_no_image_is_read_from_anywhere_else(url: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        image_urls(request(IMAGE["Url"], url), domains=["pictures.example"])
    assert message in str(refused.value)
    assert len(str(refused.value)) < 250
