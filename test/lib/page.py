"""Pages with parts that programs write, between marks."""
import re


def write(path, name, text):
    """Put a text between its marks in a page."""
    with open(path, encoding="utf-8") as file:
        content = file.read()
    content, found = re.subn(f"(<!-- {name} -->\n).*(<!-- end of {name} -->)",
                             lambda marks: marks[1] + text + "\n" + marks[2], content, flags=re.S)
    if not found:
        raise RuntimeError(f"{path} has no marks for {name}")
    with open(path, "w", encoding="utf-8") as file:
        file.write(content)
