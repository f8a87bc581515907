"""A picture of what images share: one bar of layers for each, as SVG."""

from __future__ import annotations

import colorsys
import html
from collections.abc import Iterator, Mapping, Sequence

from builder.engine.layers import ImageLayers, SharedLayer, Sharing
from builder.util.text import counted, human_size

__all__ = ["draw", "summary"]

# All lengths in pixels.
MARGIN = 14
ROW = 16
BAR = 11
BARS = 720  # the longest bar
SIZES = 70  # room for an image's size behind its bar
GLYPH = 6.1  # a monospaced character at 10 px
SWATCHES = 12

GREYS = ("#c4c4c4", "#d6d6d6")
LIGHTNESS = (0.44, 0.62, 0.53)


def summary(sharing: Sharing) -> str:
    """One line: how many images, their bytes, and how much sharing saves."""
    count = len(sharing.images)
    return (
        f"{count} {'image' if count == 1 else 'images'}: {human_size(sharing.total)} in all, "
        f"{human_size(sharing.unique)} unique, ratio {sharing.ratio:.1f}"
    )


def draw(images: Sequence[ImageLayers], sharing: Sharing) -> str:
    """The SVG of the images' layers; `sharing` is theirs. The same bytes for the same images."""
    shared = [layer for layer in sharing.layers if len(layer.users) > 1]
    colours = {layer.digest: _colour(number) for number, layer in enumerate(shared)}
    named = [layer for layer in shared if layer.saved][:SWATCHES]
    labels = [image.name.removeprefix("huggingface-") for image in images]
    left = MARGIN + round(max(map(len, labels), default=0) * GLYPH) + 8
    width = left + BARS + SIZES + MARGIN
    top = MARGIN + 40
    legend = top + len(images) * ROW + 18
    height = legend + len(named) * ROW + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" '
        'aria-labelledby="layers-title layers-description" '
        'font-family="ui-monospace, monospace" font-size="10" fill="#1f2328">',
        '<title id="layers-title">Layers that images share</title>',
        f'<desc id="layers-description">{_text(summary(sharing))}. One bar for each image, '
        "its base first, as wide as its layers have bytes.</desc>",
        f'<rect width="{width}" height="{height}" rx="6" fill="#ffffff" stroke="#d0d7de"/>',
        f'<text x="{MARGIN}" y="{MARGIN + 10}" font-size="13" font-weight="bold">'
        f"{_text(summary(sharing))}</text>",
        f'<text x="{MARGIN}" y="{MARGIN + 27}" fill="#57606a">'
        "A colour is the same layer wherever it is; grey layers are in one image only.</text>",
    ]
    lines += _bars(images, labels, sharing, colours, left=left, top=top)
    for number, layer in enumerate(named):
        y = legend + number * ROW
        label = f"{human_size(layer.size)} in {counted(len(layer.users), 'image')}: {layer.step}"
        lines += [
            f'<rect x="{MARGIN}" y="{y}" width="{BAR}" height="{BAR}" '
            f'fill="{colours[layer.digest]}"/>',
            f'<text x="{MARGIN + BAR + 6}" y="{y + 9}">{_text(label)}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


def _bars(
    images: Sequence[ImageLayers],
    labels: Sequence[str],
    sharing: Sharing,
    colours: Mapping[str, str],
    *,
    left: int,
    top: int,
) -> Iterator[str]:
    layers = {layer.digest: layer for layer in sharing.layers}
    scale = BARS / max([1, *(image.size for image in images)])
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        y = top + row * ROW
        yield f'<text x="{left - 8}" y="{y + 9}" text-anchor="end">{_text(label)}</text>'
        before = 0
        for number, layer in enumerate(image.layers):
            x, wide = left + before * scale, layer.size * scale
            before += layer.size
            # A hair of background parts the wide ones; narrow ones would vanish in it.
            wide -= 0.5 if wide > 3 else 0
            colour = colours.get(layer.digest, GREYS[number % len(GREYS)])
            tip = _tip(layers[layer.digest], len(images))
            yield (
                f'<rect x="{x:.2f}" y="{y}" width="{wide:.2f}" height="{BAR}" fill="{colour}">'
                f"<title>{_text(tip)}</title></rect>"
            )
        yield (
            f'<text x="{left + before * scale + 6:.2f}" y="{y + 9}" fill="#57606a">'
            f"{human_size(image.size)}</text>"
        )


def _tip(layer: SharedLayer, count: int) -> str:
    return f"{layer.step}: {human_size(layer.size)}, in {len(layer.users)} of {count}"


def _colour(number: int) -> str:
    """Steps of the golden angle: neighbours in the list are far apart, none comes twice."""
    lightness = LIGHTNESS[number % len(LIGHTNESS)]
    channels = colorsys.hls_to_rgb((0.58 + number * 0.381966) % 1, lightness, 0.62)
    return "#" + "".join(f"{round(channel * 255):02x}" for channel in channels)


def _text(text: str) -> str:
    """Escaped; XML has no control characters, not even escaped ones."""
    return html.escape("".join(each if each.isprintable() else "\ufffd" for each in text))
