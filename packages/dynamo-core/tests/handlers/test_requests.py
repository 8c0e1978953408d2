"""What every engine makes of a request in the same way."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_core.errors import InvalidArgument
from dynamo_core.handlers.requests import refuse_media

IMAGE = {"Url": "data:image/png;base64,iVBORw0KGgo="}


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
