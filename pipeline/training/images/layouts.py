"""Where the images of a data set lie: MVTec-AD, VisA, or plain folders of good and bad parts."""

import csv
import io
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.counting import counted, named
from pipeline.training.images.data import SUFFIXES, DataError, is_named, pictures_in

GOOD = "good"
_VISA_SPLIT = Path("split_csv") / "1cls.csv"
MASK_FOLDERS = ("ground_truth", "masks", "mask")


@dataclass(frozen=True)
class TestImage:
    """One image whose truth is known."""

    __test__ = False  # pytest takes the name for a test class

    path: Path
    kind: str
    """'good', or the class of the defect."""
    mask: Path | None = None
    """Where the defect is marked; None for good images and where nobody marked it."""

    @property
    def is_defect(self) -> bool:
        return self.kind != GOOD


@dataclass(frozen=True)
class Layout:
    """Paths are sorted by name within their folder, which is taken to be the order of production."""

    name: str
    """'mvtec', 'visa' or 'plain'."""
    normals: tuple[Path, ...]
    """For training and calibration. In a plain folder with bad parts beside the good ones these are the good ones of
    the test, too: whoever evaluates there a model that was trained there measures nothing."""
    test: tuple[TestImage, ...]
    notes: tuple[str, ...] = ()
    """What a person should know about the folder, though it can be used."""

    @property
    def test_normals(self) -> tuple[Path, ...]:
        return tuple(image.path for image in self.test if not image.is_defect)

    @property
    def test_defects(self) -> tuple[Path, ...]:
        return tuple(image.path for image in self.test if image.is_defect)


def find_layout(folder: Path) -> Layout:
    """Reads one of:

    - MVTec-AD: train/good, test/good, test/<class>, and masks in ground_truth/<class>/<name>_mask.png (or <name>.png);
    - VisA as it is downloaded: the folder of one object, with split_csv/1cls.csv beside or in it;
    - plain: images of good parts, right in the folder or in good/, and any other sub-folder holds bad ones. Masks may
      lie in ground_truth/<class>/ or masks/<class>/.

    Raises DataError when there is no such folder, it holds no image, or an image is named that is not there.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}: give --data a folder of images")
    folder = with_name(folder)
    if (folder / "train").is_dir() or (folder / "test").is_dir():
        return _mvtec(folder)
    split = next((path for path in (folder / _VISA_SPLIT, folder.parent / _VISA_SPLIT) if path.is_file()), None)
    return _visa(folder, split) if split else _plain(folder)


def with_name(folder: Path) -> Path:
    """The same folder by a path that ends in its name, which `.` and `..` do not: VisA's table goes by it."""
    return folder.resolve() if folder.name in ("", "..") else folder


def _mvtec(folder: Path) -> Layout:
    good = folder / "train" / GOOD
    normals = pictures_in(good)
    test = tuple(_test_images(folder / "test", folder))
    if not normals and not test:
        said = f"{good} holds no images, nor is there one below {folder / 'test'}: put images of good parts there"
        raise DataError("\n".join((said, *_deeper(good))))
    notes = (*_left_out(good), *(note for place in _subfolders(folder / "test") for note in _left_out(place)))
    return Layout("mvtec", normals, test, (*notes, *_on_masks(folder / "test", folder, test)))


def _plain(folder: Path) -> Layout:
    loose = pictures_in(folder)
    if (folder / GOOD).is_dir():
        spare = (f"{counted(len(loose), 'image')} right in {folder} left out: it has a folder good/",) if loose else ()
        normals = pictures_in(folder / GOOD)
        test = tuple(_test_images(folder, folder))
        notes = (*spare, *(note for place in _subfolders(folder) for note in _left_out(place)))
        notes += tuple(_on_masks(folder, folder, test))
    else:
        strays = [path.name for path in _subfolders(folder) if pictures_in(path)]
        listed = ", ".join(strays)
        notes = (f"images in {listed} were left out: there is no good/ beside them",) if strays and loose else ()
        if strays and not loose:
            raise DataError(
                f"{folder} has images in {listed} only, and no word on which parts are good: put those into "
                f"{folder / GOOD}"
            )
        normals, test = loose, tuple(TestImage(path, GOOD) for path in loose)
    if not normals and not test:
        said = f"{folder} holds no images (PNG or JPEG): put images of good parts there, into good/ or into train/good"
        raise DataError("\n".join((said, *_deeper(folder / GOOD if (folder / GOOD).is_dir() else folder))))
    return Layout("plain", normals, test, notes)


def _test_images(folder: Path, root: Path) -> Iterator[TestImage]:
    for place in _subfolders(folder):
        masks = _masks(root, place.name) if place.name != GOOD else {}
        for path in pictures_in(place):
            stem = _composed(path.stem)
            yield TestImage(path, place.name, masks.get(stem + "_mask") or masks.get(stem))


def _on_masks(folder: Path, root: Path, test: Sequence[TestImage]) -> Iterator[str]:
    """What looks like masks and is taken for none. folder: with the classes; root: with the masks."""
    fitting = {image.mask for image in test}
    for place in (root / name for name in MASK_FOLDERS if (root / name).is_dir()):
        if loose := _pictures(place):
            files = counted(len(loose), "file")
            yield f"{files} right in {place} not taken for masks: those belong in {place / '<class of defect>'}"
        for masks in _subfolders(place):
            unfit = [path for path in _pictures(masks) if path not in fitting]
            if not unfit or masks.name == GOOD:  # nothing is marked on good parts
                continue
            first = next((image.path.stem for image in test if image.kind == masks.name), None)
            wanted = f"expected {first}.png or {first}_mask.png" if first else f"{folder / masks.name} holds none"
            yield f"no image fits {counted(len(unfit), 'file')} in {masks}: {wanted}"
    for place in _subfolders(folder):
        inside = _pictures(place)
        if "mask" not in place.name.lower():
            beside = {path.stem + "_mask" for path in inside}
            inside = [path for path in inside if path.stem in beside]
        if inside:
            parts = "good" if place.name == GOOD else "defective"
            yield (
                f"{counted(len(inside), 'file')} in {place} taken for images of {parts} parts; masks belong in "
                f"{root / MASK_FOLDERS[0] / '<class of defect>'}"
            )


def _pictures(place: Path) -> list[Path]:
    """As `pictures_in`, of whatever formats are beside them."""
    return [path for path in sorted(place.iterdir()) if is_named(path, SUFFIXES) and path.is_file()]


def _left_out(place: Path) -> list[str]:
    """What a person would miss of a folder of images, and may not notice."""
    holds_none = place.is_dir() and not pictures_in(place)
    return _deeper(place) or ([f"{place} holds no images"] if holds_none else [])


def _deeper(place: Path) -> list[str]:
    deeper = sum(is_named(path, SUFFIXES) for path in place.glob("*/**/*"))
    return [f"{counted(deeper, 'image')} in sub-folders of {place} left out: put them right into it"] if deeper else []


def _subfolders(folder: Path) -> list[Path]:
    """Good parts first, then the classes by name. Hidden folders and what archives carry along (__MACOSX) are none."""
    if not folder.is_dir():
        return []
    found = [
        path
        for path in folder.iterdir()
        if path.is_dir() and path.name not in MASK_FOLDERS and not path.name.startswith((".", "__"))
    ]
    return sorted(found, key=lambda path: (path.name != GOOD, path.name))


def _masks(root: Path, kind: str) -> Mapping[str, Path]:
    return {_composed(path.stem): path for name in MASK_FOLDERS for path in pictures_in(root / name / kind)}


def _composed(name: str) -> str:
    """Macs write ö as two letters, o and its dots, others as one, and nobody sees which."""
    return unicodedata.normalize("NFC", name)


def _visa(folder: Path, split: Path) -> Layout:
    root = split.parent.parent
    rows = _rows(split, ("object", "split", "label", "image", "mask"))
    objects = sorted({row["object"] for row in rows})
    name = folder.name if folder != root else (objects[0] if len(objects) == 1 else "")
    own = [row for row in rows if row["object"] == name]
    if not own:
        raise DataError(
            f"{split} knows no object {folder.name!r}: give --data one of {', '.join(objects)} below {root}"
        )
    kinds = _visa_kinds(root, root / name / "image_anno.csv")
    missing = [row["mask"] for row in own if row["mask"] and not (root / row["mask"]).is_file()]
    missing += [row["image"] or "an image without a name" for row in own if not (root / row["image"]).is_file()]
    if missing:
        raise DataError(f"{split} names {counted(len(missing), 'file')} that cannot be found: " + named(missing, 10))
    if odd := sorted({row["split"] for row in own} - {"train", "test"}):
        raise DataError(f"{split}: the column split holds train or test, and here {named(odd, 5)}")
    if odd := sorted({row["label"] for row in own if row["label"].lower() == "normal"} - {"normal"}):
        raise DataError(f"{split}: good parts have the label normal, and here {named(odd, 5)}")
    normals = tuple(root / row["image"] for row in own if row["split"] == "train" and row["label"] == "normal")
    test = [_visa_image(root, row, kinds) for row in own if row["split"] == "test"]
    return Layout("visa", normals, tuple(sorted(test, key=lambda image: (image.is_defect, image.kind, image.path))))


def _visa_image(root: Path, row: Mapping[str, str], kinds: Mapping[str, str]) -> TestImage:
    path = root / row["image"]
    if row["label"] == "normal":
        return TestImage(path, GOOD)
    return TestImage(path, kinds.get(row["image"], row["label"]), root / row["mask"] if row["mask"] else None)


def _visa_kinds(root: Path, annotations: Path) -> Mapping[str, str]:
    """Image → class of its defect; 'several' where it has more than one."""
    if not annotations.is_file():
        return {}
    rows = _rows(annotations, ("image", "label"))
    return {row["image"]: "several" if "," in row["label"] else row["label"] for row in rows}


def _rows(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not in UTF-8 ({error}): save it so") from error
    separator = ";" if ";" in text.partition("\n")[0] else ","  # Excel's, where decimals have a comma
    reader = csv.DictReader(io.StringIO(text), delimiter=separator)
    missing = [column for column in columns if column not in (reader.fieldnames or ())]
    if missing:
        raise DataError(f"{path} has no column {', '.join(missing)}; it has {', '.join(reader.fieldnames or ['none'])}")
    try:
        return [{key: value or "" for key, value in row.items() if key} for row in reader]
    except csv.Error as error:
        raise DataError(f"{path} is no table: {error}") from error
