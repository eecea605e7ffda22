"""Only a folder that Andon made, and that nobody uses, is ever removed."""

import os
from pathlib import Path

import pytest

from workers.local.data_folder import DataFolder
from workers.local.errors import ServiceError

pytestmark = pytest.mark.unit


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "home")


def test_the_place_is_the_argument_then_the_environment_then_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANDON_HOME", raising=False)
    assert DataFolder.at(None).root == tmp_path / ".andon"
    monkeypatch.setenv("ANDON_HOME", "elsewhere")
    assert DataFolder.at(None).root == tmp_path / "elsewhere"
    assert DataFolder.at(Path("named")).root == tmp_path / "named"


def test_clean_removes_all_that_was_made(folder: DataFolder) -> None:
    folder.create()
    (folder.kafka / "data").mkdir(parents=True)
    (folder.kafka / "data" / "segment").touch()
    assert folder.clean()
    assert not folder.root.exists()
    assert not folder.clean()


def test_a_folder_of_somebody_else_is_neither_used_nor_removed(folder: DataFolder) -> None:
    folder.root.mkdir()
    (folder.root / "thesis.tex").touch()
    with pytest.raises(ServiceError, match="Andon did not make it"):
        folder.create()
    with pytest.raises(ServiceError, match="was not made by Andon"):
        folder.clean()
    assert (folder.root / "thesis.tex").exists()


def test_a_link_to_a_folder_is_not_followed(folder: DataFolder, tmp_path: Path) -> None:
    folder.create()
    link = tmp_path / "link"
    link.symlink_to(folder.root)
    with pytest.raises(ServiceError, match="was not made by Andon"):
        DataFolder(link).clean()
    assert folder.is_ours


def test_clean_is_refused_while_the_folder_is_held(folder: DataFolder) -> None:
    folder.create()
    with folder.lock(), pytest.raises(ServiceError, match=rf"are running \(process {os.getpid()}\)"):
        folder.clean()
    assert folder.clean()


def test_the_number_of_an_ended_holder_means_nothing(folder: DataFolder) -> None:
    folder.create()
    folder.publish({"KAFKA_BOOTSTRAP": "127.0.0.1:9"})  # names this very process, which lives but holds no lock
    assert folder.running_services() is None
    assert folder.clean()


def test_holders_say_where_their_services_listen(folder: DataFolder) -> None:
    folder.create()
    with folder.lock():
        folder.publish({"KAFKA_BOOTSTRAP": "127.0.0.1:9"})
        assert folder.running_services() == {"pid": str(os.getpid()), "KAFKA_BOOTSTRAP": "127.0.0.1:9"}
    assert folder.running_services() is None
