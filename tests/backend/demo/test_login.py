from dataclasses import replace
from pathlib import Path

from sam_backend.demo.login import load_or_make_login, save_login


def test_a_new_login_has_a_random_password_that_only_its_owner_can_read(tmp_path: Path) -> None:
    one = load_or_make_login(tmp_path / "one.json")
    other = load_or_make_login(tmp_path / "other.json")

    assert len(one.password) >= 16
    assert one.password != other.password
    assert (tmp_path / "one.json").stat().st_mode & 0o777 == 0o600


def test_a_login_is_remembered_with_its_token(tmp_path: Path) -> None:
    file = tmp_path / "login.json"
    login = replace(load_or_make_login(file), api_key="a.b.c")

    save_login(login, file)

    assert load_or_make_login(file) == login
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]
