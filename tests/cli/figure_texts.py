"""What a reader sees of a figure's texts."""

from matplotlib.text import Text


def texts_of(drawn):
    """Return all texts of a figure, shown or not."""
    return [text.get_text() for text in drawn.findobj(lambda artist: hasattr(artist, "get_text"))]


def assert_texts_stay_on_the_page_and_apart(drawn, monkeypatch):
    """Draw a figure, and fail if a text leaves the page or covers another; return how many."""
    drawn_texts = []
    draw_text = Text.draw

    def record(text, renderer, *arguments, **options):
        if text.get_visible() and text.get_text():
            drawn_texts.append(text)
        draw_text(text, renderer, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Text, "draw", record)
        drawn.draw_without_rendering()
    page = drawn.bbox
    # A text's own box: an annotation's includes its leader, which may pass by others.
    boxes = [(text, Text.get_window_extent(text)) for text in drawn_texts]
    for number, (text, box) in enumerate(boxes):
        assert page.x0 <= box.x0 <= box.x1 <= page.x1, text
        assert page.y0 <= box.y0 <= box.y1 <= page.y1, text
        for other, other_box in boxes[number + 1 :]:
            assert not box.overlaps(other_box), (text, other)
    return len(boxes)
