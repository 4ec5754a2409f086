"""Texts that try to break out of HTML, LaTeX, BibTeX, CSV, Markdown or a terminal."""

from __future__ import annotations

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    r"\input{/etc/passwd}",
    r"\write18{rm -rf ~}$\end{document}",
    "100% of #1 & {unbalanced ^ ~ _",
    "}}{{{",
    '=HYPERLINK("http://evil.example";"x")',
    "  @SUM(1+1)*cmd|' /C calc'!A0",
    "\x1b]0;owned\x07\x1b[2Jgone",
    "\u202egnp.exe\u2066",
    "two\nlines\r\tand | a pipe",
    "[x](javascript:alert(1)) ![y](http://evil.example/z.png) `code` **b** www.evil.example @team",
    "模型 é ø Ł ı ñ ą ﬁ 𝒳 \u0301\u0301",
    "nrms--pgd ''quoted'' \"quoted\" ?`",
    "x" * 5000,
    "",
]
