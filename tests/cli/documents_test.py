"""What documents and comments point at is in the repository, and docs/index.md lists every
document.

usage: documents_test.py SOURCE_DIR
"""

import pathlib
import re
import sys

ROOTS = ["golden", "datasets", "reference", "cuda_impl", "verify", "cli", "bench", "tests",
         "scripts", "docs", "cmake"]
COMMENTS = ["golden", "cuda_impl", "datasets", "reference", "verify", "cli", "bench", "tests"]
PATH = re.compile(r"`((?:%s)/[\w./-]*)`" % "|".join(ROOTS))
LINK = re.compile(r"\]\(([^)#:]+)\)")
PAGE = re.compile(r"[\w./-]*\b[\w-]+\.md\b")
SECTION = re.compile(r"docs/methods\.md, (methods? [^.;)\n]*\d[\w.]*(?:, [\w.-]+ and [\w.-]+)?)")
README_LINES = 200


def faults_of_document(source, name):
    text = (source / name).read_text()
    for path in PATH.findall(text):
        if not (source / path).exists():
            yield f"{name}: no such file or folder: {path}"
    for path in LINK.findall(text):
        if not (source / name).parent.joinpath(path).exists():
            yield f"{name}: link to nothing: {path}"


def comments_of(path):
    """The text of a source's comments on one line: a citation may run over two."""
    lines = re.findall(r"^.*?//(.*)$", path.read_text(), re.MULTILINE)
    return " ".join(line.strip() for line in lines)


def faults_of_comments(source, headings):
    cited = 0
    for root in COMMENTS:
        for path in sorted((source / root).rglob("*")):
            if path.suffix not in {".h", ".cpp", ".cu"}:
                continue
            text = comments_of(path)
            for page in PAGE.findall(text):
                cited += 1
                if not (source / page).exists():
                    yield f"{path.relative_to(source)}: no such page: {page}"
            for section in SECTION.findall(text):
                if not any(heading.startswith(section.lower().rstrip(".")) for heading in headings):
                    yield f"{path.relative_to(source)}: docs/methods.md has no heading: {section}"
    if cited < 10:  # a wrong SOURCE_DIR has nothing to find fault with
        yield f"expected comments to cite 10 pages at least, got {cited}"


def main():
    source = pathlib.Path(sys.argv[1])
    pages = ["README.md", "HACKING.md", "CHANGELOG.md"]
    pages += sorted(str(path.relative_to(source)) for path in (source / "docs").rglob("*")
                    if path.is_file())
    index = (source / "docs/index.md").read_text()
    links = {page: page[5:] if page.startswith("docs/") else "../" + page for page in pages}
    faults = [f"docs/index.md: {page} is not listed" for page in pages
              if page != "docs/index.md" and f"({links[page]})" not in index]
    for page in pages:
        if page.endswith(".md"):
            faults += faults_of_document(source, page)
    headings = [line.lstrip("# ").lower()
                for line in (source / "docs/methods.md").read_text().splitlines()
                if line.startswith("#")]
    faults += faults_of_comments(source, headings)
    lines = len((source / "README.md").read_text().splitlines())
    if lines > README_LINES:
        faults.append(f"README.md: expected at most {README_LINES} lines, got {lines}; what is "
                      "deeper belongs to docs/")
    for fault in faults:
        print(f"documents_test: {fault}")
    if not faults:
        print(f"documents_test: {len(pages)} documents, all that they point at is there")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
