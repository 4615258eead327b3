"""`make demo` twice in one folder: the second run reuses the project, and no process is left running."""

import socket
from pathlib import Path

import pytest
from PIL import Image

from sam_backend.demo.child_process import free_port
from sam_backend.demo.demo import run_demo

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.mark.usefixtures("label_studio_program")
def test_the_demo_clicks_remembers_and_leaves_nothing_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM_MODEL", "classical")  # where there is a network it would fetch MobileSAM
    said: list[str] = []
    ports = [(free_port(18080), free_port(19090)), (free_port(18280), free_port(19290))]

    codes = [
        run_demo(tmp_path, exit_after_check=True, label_studio_port=one, backend_port=other, say=said.append)
        for one, other in ports
    ]

    assert codes == [0, 0], "\n".join(said)
    assert [line for line in said if line.startswith("project")] == [
        "project: 'Click to mask' with 7 photographs",
        "project: 'Pre-annotated' with 7 photographs",
        "project: 'Click to mask', from an earlier demo",
        "project: 'Pre-annotated', from an earlier demo",
    ]
    runs = [line for line in said if line.startswith("bulk run: ") and "photographs" in line]
    assert runs[0].startswith("bulk run: 7 photographs, ")
    assert runs[1].startswith("bulk run: nothing to do, 7 photographs from last time")
    assert sum(line.startswith("click: one point on flower.jpg gave a mask") for line in said) == 2
    with Image.open(tmp_path / "click.png") as drawing:
        assert drawing.size == (1280, 854)
    for port in ports[0] + ports[1]:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1)
