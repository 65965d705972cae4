"""Makes the corpus: the same invented harbour report, written by as many programs as there are at hand. See README.md.

    python3 make.py PROGRAM...      # those named; all without a name
"""

import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

HERE = Path(__file__).parent
TITLE = "Harbour report"
PARAGRAPHS = [
    "High water stood at 06:42 and at 19:05; the café on the quay was closed.",
    "Ines Müller counted 312 crates of oranges, and a fee of €12 was paid in Tromsø.",
]
TABLE = [("Berth", "Ship"), ("1", "Aurora"), ("2", "Borealis")]

MARKDOWN = f"""# {TITLE}

{PARAGRAPHS[0]}

{PARAGRAPHS[1]}

| {TABLE[0][0]} | {TABLE[0][1]} |
|---|---|
| {TABLE[1][0]} | {TABLE[1][1]} |
| {TABLE[2][0]} | {TABLE[2][1]} |
"""
HTML = (
    f"<html><head><meta charset='utf-8'><title>{TITLE}</title></head><body><h1>{TITLE}</h1>"
    + "".join(f"<p>{text}</p>" for text in PARAGRAPHS)
    + "<table>"
    + "".join(f"<tr><td>{a}</td><td>{b}</td></tr>" for a, b in TABLE)
    + "</table></body></html>"
)


def run(*command: str, stdin: bytes = b"") -> bytes:
    return subprocess.run(command, input=stdin, check=True, capture_output=True, cwd=HERE).stdout


def out(name: str) -> str:
    return str(HERE / name)


def pandoc() -> None:
    source = MARKDOWN.encode()
    for name, to in [("pandoc.docx", "docx"), ("pandoc.html", "html"), ("pandoc.md", "gfm"), ("pandoc.txt", "plain")]:
        run("pandoc", "--standalone", "--metadata", f"pagetitle={TITLE}", "-f", "markdown", "-t", to, "-o", out(name), stdin=source)


def libreoffice() -> None:
    page = HERE / "libreoffice.html"
    page.write_text(HTML)
    for to in ("pdf", "docx:MS Word 2007 XML"):
        run("soffice", "--headless", "--infilter=HTML (StarWriter)", "--convert-to", to, "--outdir", str(HERE), str(page))
    page.unlink()


def weasyprint() -> None:
    from weasyprint import HTML as Page

    Page(string=HTML).write_pdf(out("weasyprint.pdf"))


def fpdf2() -> None:
    from fpdf import FPDF

    pdf = FPDF()
    pdf.add_page()
    pdf.set_font("Helvetica", size=14)
    pdf.cell(text=TITLE)
    pdf.ln(20)
    pdf.add_page()
    pdf.multi_cell(0, 8, "The second page: salt and timber.")
    pdf.output(out("fpdf2.pdf"))


def cairo() -> None:
    lines = "".join(f"<text x='20' y='{60 + 30 * at}' font-size='14'>{text}</text>" for at, text in enumerate(PARAGRAPHS))
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' width='640' height='200'><text x='20' y='30' font-size='20'>{TITLE}</text>{lines}</svg>"
    run("rsvg-convert", "-f", "pdf", "-o", out("cairo.pdf"), stdin=svg.encode())


def ghostscript() -> None:
    ps = "%!PS\n/Helvetica findfont 14 scalefont setfont 72 700 moveto (Harbour report) show 72 680 moveto (312 crates of oranges) show showpage\n"
    run("gs", "-q", "-sDEVICE=pdfwrite", "-o", out("ghostscript.pdf"), "-", stdin=ps.encode())


def groff() -> None:
    text = ".TL\nHarbour report\n.PP\n312 crates of oranges were counted.\n.bp\n.PP\nThe second page: salt and timber.\n"
    (HERE / "groff.pdf").write_bytes(run("groff", "-ms", "-Tpdf", stdin=text.encode()))


def qpdf() -> None:
    run("qpdf", "--linearize", "--object-streams=generate", "fpdf2.pdf", out("qpdf-linear.pdf"))
    # Opens without a password, as many forms do.
    run("qpdf", "--encrypt", "", "owner", "256", "--", "fpdf2.pdf", out("qpdf-owner-password.pdf"))
    run("qpdf", "--encrypt", "open sesame", "owner", "256", "--", "fpdf2.pdf", out("qpdf-password.pdf"))


def img2pdf() -> None:
    import img2pdf as library
    from PIL import Image, ImageDraw

    page = Image.new("L", (400, 120), 255)
    ImageDraw.Draw(page).text((20, 50), "A letter that was put on a scanner.", fill=0)
    png = BytesIO()
    page.save(png, "PNG")
    (HERE / "img2pdf-scan.pdf").write_bytes(library.convert([png.getvalue(), png.getvalue()]))


def damaged() -> None:
    """What a broken upload, a broken disk and a wrong name leave."""
    whole = (HERE / "weasyprint.pdf").read_bytes()
    (HERE / "cut.pdf").write_bytes(whole[: len(whole) // 3])
    (HERE / "zeroed.pdf").write_bytes(whole[:200] + bytes(len(whole) - 200))
    # Its cross-reference table points nowhere: readers mend that.
    (HERE / "no-xref.pdf").write_bytes(whole[: whole.rindex(b"startxref")])
    docx = (HERE / "pandoc.docx").read_bytes()
    (HERE / "cut.docx").write_bytes(docx[: len(docx) // 2])
    broken = BytesIO()
    with zipfile.ZipFile(HERE / "pandoc.docx") as source, zipfile.ZipFile(broken, "w", zipfile.ZIP_DEFLATED) as target:
        for item in source.infolist():
            data = source.read(item)
            target.writestr(item.filename, data[: len(data) // 2] if item.filename == "word/document.xml" else data)
    (HERE / "broken-xml.docx").write_bytes(broken.getvalue())
    (HERE / "empty.pdf").write_bytes(b"")
    (HERE / "picture.pdf").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (HERE / "bytes.txt").write_bytes(bytes(range(256)) * 4)
    (HERE / "windows.html").write_bytes(HTML.replace("utf-8", "windows-1252").encode("cp1252"))
    (HERE / "utf-16.txt").write_bytes(PARAGRAPHS[1].encode("utf-16"))


ALL = [pandoc, libreoffice, weasyprint, fpdf2, cairo, ghostscript, groff, qpdf, img2pdf, damaged]

if __name__ == "__main__":
    wanted = sys.argv[1:]
    for program in ALL:
        if not wanted or program.__name__ in wanted:
            program()
