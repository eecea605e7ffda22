"""Data sets as they lie on disk, and what is said of broken ones."""

import csv
from pathlib import Path

import numpy as np
import pytest
from detectors.conftest import normal_frames, write_images
from PIL import Image

from pipeline.detectors.null import make_null_bundle
from pipeline.training.figures.measure import check_images
from pipeline.training.images.copies import without_copies
from pipeline.training.images.data import DataError, how_stored, read_mask
from pipeline.training.images.layouts import find_layout

pytestmark = pytest.mark.unit


def write_mask(path: Path, height: int = 48, level: int = 255) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((height, 56), np.uint8)
    mask[4:9, 5:9] = level
    Image.fromarray(mask).save(path)


@pytest.fixture
def mvtec(tmp_path: Path) -> Path:
    write_images(tmp_path / "train" / "good", normal_frames(3))
    write_images(tmp_path / "test" / "good", normal_frames(2))
    write_images(tmp_path / "test" / "crack", normal_frames(2))
    write_images(tmp_path / "test" / "hole", normal_frames(1))
    write_mask(tmp_path / "ground_truth" / "crack" / "part0000_mask.png")
    write_mask(tmp_path / "ground_truth" / "crack" / "part0001_mask.png")
    write_mask(tmp_path / "ground_truth" / "hole" / "part0000.png")
    return tmp_path


def faults(folder: Path, marked: bool = True) -> str:
    info = make_null_bundle(folder.with_name(folder.name + "-bundle"), 48, 56)
    with pytest.raises(DataError) as caught:
        check_images(find_layout(folder).test, info, marked)
    return str(caught.value)


def test_mvtec(mvtec: Path) -> None:
    layout = find_layout(mvtec)
    assert (layout.name, len(layout.normals)) == ("mvtec", 3)
    assert [image.kind for image in layout.test] == ["good", "good", "crack", "crack", "hole"]
    assert [image.mask.name if image.mask else "" for image in layout.test[1:4]] == [
        "",
        "part0000_mask.png",
        "part0001_mask.png",
    ]
    assert layout.test[4].mask == mvtec / "ground_truth" / "hole" / "part0000.png"
    check_images(layout.test, make_null_bundle(mvtec / "bundle", 48, 56), True)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("TRAIN,normal,a.png,", "split holds train or test, and here TRAIN"),
        ("train,Normal,a.png,", "good parts have the label normal, and here Normal"),
        (f"train,normal,{'a' * 140_000},", "1cls.csv is no table: field larger"),
    ],
)
def test_visa_tables_of_another_spelling_are_refused(tmp_path: Path, row: str, told: str) -> None:
    """A good part with the label Normal was a defect, and of TEST it was said that there were no test images."""
    (tmp_path / "a.png").touch()
    (tmp_path / "split_csv").mkdir()
    (tmp_path / "split_csv" / "1cls.csv").write_text(f"object,split,label,image,mask\ncandle,{row}\n")
    with pytest.raises(DataError, match=told):
        find_layout(tmp_path)


def test_visa_as_it_is_downloaded(tmp_path: Path) -> None:
    images, masks = tmp_path / "candle" / "Data" / "Images", tmp_path / "candle" / "Data" / "Masks"
    write_images(images / "Normal", normal_frames(3))
    write_images(images / "Anomaly", normal_frames(2))
    write_mask(masks / "Anomaly" / "part0000.png", level=1)
    write_mask(masks / "Anomaly" / "part0001.png", level=2)
    normal, anomaly = "candle/Data/Images/Normal/part000", "candle/Data/Images/Anomaly/part000"
    (tmp_path / "split_csv").mkdir()
    (tmp_path / "split_csv" / "1cls.csv").write_text(
        "object,split,label,image,mask\n"
        f"candle,train,normal,{normal}0.png,\ncandle,train,normal,{normal}1.png,\ncandle,test,normal,{normal}2.png,\n"
        f"candle,test,anomaly,{anomaly}0.png,candle/Data/Masks/Anomaly/part0000.png\n"
        f"candle,test,anomaly,{anomaly}1.png,candle/Data/Masks/Anomaly/part0001.png\n"
        "pcb1,train,normal,pcb1/nowhere.png,\n"
    )
    (tmp_path / "candle" / "image_anno.csv").write_text(
        f'image,label,mask\n{anomaly}0.png,wax melded out,x\n{anomaly}1.png,"foreign particals,other",x\n'
    )
    layout = find_layout(tmp_path / "candle")
    assert (layout.name, [path.name for path in layout.normals]) == ("visa", ["part0000.png", "part0001.png"])
    assert [image.kind for image in layout.test] == ["good", "several", "wax melded out"]
    assert all(image.mask and read_mask(image.mask).sum() == 20 for image in layout.test[1:])
    for table in (tmp_path / "split_csv" / "1cls.csv", tmp_path / "candle" / "image_anno.csv"):
        rows = list(csv.reader(table.read_text().splitlines()))
        with table.open("w", newline="") as written:  # as Excel writes it where decimals have a comma
            csv.writer(written, delimiter=";").writerows(rows)
    assert find_layout(tmp_path / "candle") == layout
    with pytest.raises(DataError, match="candle, pcb1"):
        find_layout(tmp_path)
    (tmp_path / "pcb1").mkdir()
    with pytest.raises(DataError, match=r"names 1 file that cannot be found: pcb1/nowhere\.png"):
        find_layout(tmp_path / "pcb1")


@pytest.mark.parametrize(("inside", "given"), [(".", "."), ("Data", "..")])
def test_an_object_of_visa_is_known_from_within(
    inside: str, given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--data .` has no name, and no folder beside it: the data set was said to hold no images."""
    write_images(tmp_path / "candle" / "Data", normal_frames(1))
    (tmp_path / "split_csv").mkdir()
    (tmp_path / "split_csv" / "1cls.csv").write_text(
        "object,split,label,image,mask\ncandle,train,normal,candle/Data/part0000.png,\n"
    )
    monkeypatch.chdir(tmp_path / "candle" / inside)
    assert find_layout(Path(given)).name == "visa"


@pytest.mark.parametrize(
    ("row", "encoding", "said"),
    [
        ("größe,train,normal,größe/1.png,", "latin-1", r"1cls\.csv is not in UTF-8"),
        ("größe,test,anomaly", "utf-8", "1 file that cannot be found: an image without a name"),
    ],
)
def test_a_split_that_cannot_be_read_is_named(tmp_path: Path, row: str, encoding: str, said: str) -> None:
    (tmp_path / "größe").mkdir()
    (tmp_path / "split_csv").mkdir()
    split = f"object,split,label,image,mask\n{row}\n"
    (tmp_path / "split_csv" / "1cls.csv").write_text(split, encoding=encoding)
    with pytest.raises(DataError, match=said):
        find_layout(tmp_path / "größe")


def test_a_plain_folder_of_good_parts(tmp_path: Path) -> None:
    write_images(tmp_path, normal_frames(2))
    layout = find_layout(tmp_path)
    assert layout.normals == layout.test_normals
    assert not layout.test_defects


def test_good_and_bad_folders(tmp_path: Path) -> None:
    write_images(tmp_path / "good", normal_frames(2))
    write_images(tmp_path / "bad", normal_frames(1))
    write_mask(tmp_path / "masks" / "bad" / "part0000.png")
    layout = find_layout(tmp_path)
    assert [image.kind for image in layout.test] == ["good", "good", "bad"]
    assert layout.test[2].mask


def test_bad_parts_alone_are_not_taken_for_good_ones(tmp_path: Path) -> None:
    write_images(tmp_path / "scratched", normal_frames(2))
    with pytest.raises(DataError, match="no word on which parts are good"):
        find_layout(tmp_path)


@pytest.mark.parametrize("folder", ["", "train/good", "test"])
def test_an_empty_folder_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    with pytest.raises(DataError, match="images"):
        find_layout(tmp_path)


@pytest.mark.parametrize("place", ["2026/11", "good/2026/11", "train/good/2026-11-30"])
def test_images_that_lie_too_deep_are_told_where_none_lie_right(place: str, tmp_path: Path) -> None:
    """It was said that there are no images, and the folder has hundreds, one folder a day."""
    write_images(tmp_path / place, normal_frames(2))
    right = tmp_path / place.rpartition("2026")[0].rstrip("/")
    with pytest.raises(DataError, match=f"\n2 images in sub-folders of {right} left out: put them right into it"):
        find_layout(tmp_path)


@pytest.mark.parametrize("name", ["scan.tif", "phone.HEIC", "camera.pgm", "browser.jfif"])
def test_formats_that_cameras_do_not_send_are_named(name: str, tmp_path: Path) -> None:
    write_images(tmp_path, normal_frames(1))
    (tmp_path / name).write_bytes(b"II")
    with pytest.raises(DataError, match=f"{name}: only PNG and JPEG are read"):
        find_layout(tmp_path)


def test_every_fault_is_named_with_its_file(mvtec: Path) -> None:
    write_mask(mvtec / "ground_truth" / "crack" / "part0001_mask.png", height=20)
    (mvtec / "ground_truth" / "hole" / "part0000.png").unlink()
    (mvtec / "test" / "good" / "part0000.png").write_bytes(b"torn")
    write_images(mvtec / "test" / "large", normal_frames(1, 60, 60))
    (mvtec / "ground_truth" / "crack" / "part0000_mask.png").write_bytes(b"torn")
    said = faults(mvtec)
    assert "5 of 6 images" in said
    assert "good/part0000.png: cannot be read" in said
    assert "part0000_mask.png: cannot be read" in said
    assert "part0001_mask.png: is 56 × 20 px, but its image is 56 × 48 px" in said
    assert "hole/part0000.png: has no mask" in said
    assert "large/part0000.png: is 60 × 60 px, and this model judges 56 × 48 px gray" in said


def test_soft_borders_of_a_mask_are_cut_at_the_middle(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 20, 127, 128, 255]], np.uint8)).save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png").tolist() == [[False, False, False, True, True]]


def test_what_a_person_would_miss_is_told(mvtec: Path) -> None:
    write_images(mvtec / "test" / "crack" / "camera1", normal_frames(2))
    write_images(mvtec / "train" / "good" / "day1" / "early", normal_frames(3))
    write_images(mvtec / "test" / "__MACOSX", normal_frames(1))
    (mvtec / "test" / "scratch").mkdir()
    layout = find_layout(mvtec)
    assert layout.notes == (
        f"3 images in sub-folders of {mvtec / 'train' / 'good'} left out: put them right into it",
        f"2 images in sub-folders of {mvtec / 'test' / 'crack'} left out: put them right into it",
        f"{mvtec / 'test' / 'scratch'} holds no images",
    )
    assert {image.kind for image in layout.test} == {"good", "crack", "hole"}


def test_masks_that_fit_no_image_are_told_with_the_names_that_would(mvtec: Path) -> None:
    masks = mvtec / "ground_truth"
    (masks / "crack" / "part0000_mask.png").rename(masks / "crack" / "part0000-gt.png")
    (masks / "hole" / "part0000.png").rename(masks / "loose.png")
    write_mask(masks / "dent" / "part0000.png")
    write_mask(masks / "good" / "part0000.png")
    assert find_layout(mvtec).notes == (
        f"1 file right in {masks} not taken for masks: those belong in {masks / '<class of defect>'}",
        f"no image fits 1 file in {masks / 'crack'}: expected part0000.png or part0000_mask.png",
        f"no image fits 1 file in {masks / 'dent'}: {mvtec / 'test' / 'dent'} holds none",
    )


@pytest.mark.parametrize("place", ["test/hole_Mask", "hole_Mask"])
def test_a_folder_of_masks_that_is_taken_for_a_class_is_told(tmp_path: Path, place: str) -> None:
    write_images(tmp_path / place / ".." / "good", normal_frames(1))
    write_mask(tmp_path / place / "part0000.png")
    (note,) = find_layout(tmp_path).notes
    assert f"1 file in {tmp_path / place} taken for images of defective parts" in note
    assert str(tmp_path / "ground_truth") in note


def test_masks_beside_their_images_are_told(tmp_path: Path) -> None:
    """They were defective parts that every model finds, and made each figure better than it is."""
    for name in ("good/a.png", "hole/a.png", "hole/a_mask.png", "hole/b.png", "hole/gas_mask.png"):
        write_mask(tmp_path / name)
    (note,) = find_layout(tmp_path).notes
    assert f"1 file in {tmp_path / 'hole'} taken for images of defective parts; masks belong in" in note


def test_a_mask_with_its_shape_in_alpha_marks_that_shape(tmp_path: Path) -> None:
    pixels = np.full((48, 56, 4), 255, np.uint8)
    pixels[..., 3] = 0
    pixels[4:9, 5:9, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png").sum() == 20


def test_a_palette_marks_by_its_colours_and_not_by_their_numbers(tmp_path: Path) -> None:
    """Programs that shrink a PNG order a palette as they like; white first had marked all but the defect."""
    mask = np.zeros((48, 56), np.uint8)
    mask[4:9, 5:9] = 1
    for name, numbers, palette in (
        ("black first", mask, [0, 0, 0, 255, 255, 255]),
        ("white first", 1 - mask, [255, 255, 255, 0, 0, 0]),
        ("of Pascal VOC", 8 * mask, [0, 0, 0] * 8 + [64, 0, 0]),
        ("numbers", 3 * mask, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]),
    ):
        image = Image.fromarray(numbers, "P")
        image.putpalette(palette)
        image.save(tmp_path / "mask.png")
        assert read_mask(tmp_path / "mask.png").tolist() == (mask > 0).tolist(), name


def test_a_mask_in_colour_marks_by_its_brightest_channel(tmp_path: Path) -> None:
    pixels = np.zeros((48, 56, 3), np.uint8)
    pixels[4:9, 5:9, 0] = 255
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png").sum() == 20


def test_a_copy_is_the_later_file_of_the_same_bytes(tmp_path: Path) -> None:
    write_images(tmp_path, normal_frames(3))
    first = sorted(tmp_path.iterdir())
    (tmp_path / "part0000 copy.png").write_bytes(first[0].read_bytes())
    wrong = [tmp_path / name for name in ("gone.png", "empty.png", "empty as well.png")]
    for empty in wrong[1:]:
        empty.touch()
    kept, copies = without_copies([*first, tmp_path / "part0000 copy.png", *wrong])
    assert kept == (*first, *wrong)  # whoever loads them says what is wrong
    assert copies == (tmp_path / "part0000 copy.png",)


def test_a_mask_fits_its_image_however_an_umlaut_is_written(tmp_path: Path) -> None:
    """Archives from a Mac hold o and its dots apart; the two names look the same."""
    write_images(tmp_path / "test" / "riß", normal_frames(1))
    image = tmp_path / "test" / "riß" / "part0000.png"
    image.rename(image.with_name("sch\u00f6n.png"))
    write_mask(tmp_path / "ground_truth" / "riß" / "scho\u0308n_mask.png")
    layout = find_layout(tmp_path)
    assert [image.mask for image in layout.test] == [tmp_path / "ground_truth" / "riß" / "scho\u0308n_mask.png"]
    assert not [note for note in layout.notes if "fits" in note]


def test_gray_with_alpha_is_gray(tmp_path: Path) -> None:
    """Alpha is dropped: a folder of such images trained a model for colour, with thrice the values."""
    gray = Image.fromarray(normal_frames(1)[0])
    gray.putalpha(128)
    gray.save(tmp_path / "part.png")
    assert how_stored([tmp_path / "part.png"]).mode == "gray"


@pytest.mark.parametrize(("red", "mode"), [(7, "gray"), (8, "rgb")])
def test_a_palette_of_grays_is_gray(red: int, mode: str, tmp_path: Path) -> None:
    """Windows writes a mono camera's PNG so: the replica and the commands told of colour that a model is blind to."""
    image = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).convert("P")
    palette = np.repeat(np.arange(256, dtype=np.uint8), 3)
    palette[3 * 7] = red
    image.putpalette(palette.tolist())
    image.save(tmp_path / "part.png")
    assert how_stored([tmp_path / "part.png"]).mode == mode
