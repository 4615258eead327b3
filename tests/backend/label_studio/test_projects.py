import json
from urllib.parse import parse_qs, urlsplit

from sam_backend.label_studio.client import LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.label_studio.projects import ProjectDetails, newest_projects, projects
from sam_testing.web_server import Answer, Asked, serving


def test_projects_of_all_pages_are_read_with_the_token() -> None:
    pages = [[{"id": 1, "title": "a"}, {"id": 2, "title": "b"}], [{"id": 3, "title": "c"}]]

    def answer(asked: Asked) -> Answer:
        page = int(parse_qs(urlsplit(asked.path).query)["page"][0])
        return Answer(json.dumps({"count": 3, "results": pages[page - 1]}).encode())

    with serving(answer) as server:
        found = projects(LabelStudioClient(LabelStudioCredentials(server.url, "0123456789")))

    assert found == [ProjectDetails(1, "a"), ProjectDetails(2, "b"), ProjectDetails(3, "c")]
    assert server.authorizations == ["Token 0123456789"] * 2


def test_an_empty_page_ends_the_listing() -> None:
    """Projects can be deleted while the pages are read."""
    with serving(lambda asked: Answer(b'{"count": 3, "results": []}')) as server:
        assert projects(LabelStudioClient(LabelStudioCredentials(server.url, "0123456789"))) == []

    assert len(server.asked) == 1


def test_the_newest_projects_are_one_page_sorted_by_label_studio() -> None:
    body = {"count": 50, "results": [{"id": 9, "title": "b", "label_config": "<View/>", "task_number": 4}]}

    with serving(lambda asked: Answer(json.dumps(body).encode())) as server:
        found = newest_projects(LabelStudioClient(LabelStudioCredentials(server.url, "0123456789")), 20)

    assert found == [ProjectDetails(9, "b", labeling_config="<View/>", tasks=4)]
    assert server.paths == ["/api/projects/?page_size=20&ordering=-created_at"]
