"""The page at /: what its headers forbid, and that its markup keeps to them."""

import re

from sam_testing.service import SamService


def test_the_page_forbids_foreign_and_inline_scripts_and_has_none() -> None:
    response = SamService().client.get("/", headers={"Accept": "text/html"})

    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"<script(?![^>]*\ssrc=)|\son\w+=|\sstyle=|javascript:", response.text)
    assert not re.search(r'(src|href)="(https?:)?/', response.text), "a path prefix may be before"


def test_the_script_never_makes_markup_of_texts() -> None:
    with SamService().client.get("/static/page.js") as response:
        script = response.text

    assert "textContent" in script
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", script)


def test_no_function_of_the_script_replaces_another() -> None:
    with SamService().client.get("/static/page.js") as response:
        names = re.findall(r"^(?:async )?function (\w+)", response.text, re.M)

    assert len(names) == len(set(names)), [name for name in names if names.count(name) > 1]


def test_programs_get_health_in_place_of_the_page() -> None:
    assert SamService().client.get("/", headers={"Accept": "application/json"}).get_json()["status"] == "UP"
