"""Where a page has a table that a script makes: between two comments."""


def filled(text: str, begin: str, end: str, content: str) -> str:
    """A page's text with new content between its marks; as it was, where it has none."""
    before, found, rest = text.partition(begin)
    return f"{before}{begin}\n\n{content}\n\n{end}{rest.partition(end)[2]}" if found else text
