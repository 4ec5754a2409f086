"""Reads a page as a browser would: elements with their attributes and text. Tags must nest."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "source", "link", "br", "img", "input", "hr"}


@dataclass
class Element:
    """An element of the page."""

    tag: str
    attributes: dict[str, str]
    children: list[Element | str] = field(default_factory=list)

    def text(self) -> str:
        """All text inside."""
        return "".join(child if isinstance(child, str) else child.text() for child in self.children)

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """The elements inside with this tag and these attributes; `class_` matches one of the classes."""
        found = []
        for child in self.children:
            if isinstance(child, Element):
                if child.tag == tag and child.has(attributes):
                    found.append(child)
                found += child.all(tag, **attributes)
        return found

    def has(self, attributes: dict[str, str]) -> bool:
        """Whether the element has all `attributes`."""
        return all(
            value in self.attributes.get("class", "").split()
            if name == "class_"
            else self.attributes.get(name.replace("_", "-")) == value
            for name, value in attributes.items()
        )


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("document", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag, f"</{tag}> at {self.getpos()} closes another element"

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def read_page(text: str | bytes) -> Element:
    """The document; an error where tags do not nest."""
    reader = _Reader()
    reader.feed(text if isinstance(text, str) else text.decode())
    reader.close()
    assert reader.open == [reader.root], "an element is never closed"
    return reader.root
