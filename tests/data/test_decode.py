import io
import struct
import zlib

import numpy as np
import pytest
from kits.pictures import noise, png
from PIL import Image, ImageCms

from ddpm_app.data import decode


def saved(picture: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def pixels(file) -> np.ndarray:
    picture = decode.read(file)
    assert picture.mode == "RGB"
    return np.asarray(picture)


def test_rgb_keeps_its_pixels():
    assert np.array_equal(pixels(png(noise())), noise())


def test_greyscale_becomes_three_equal_channels():
    grey = noise(channels=1)
    assert np.array_equal(pixels(png(grey)), np.stack([grey] * 3, -1))


def test_rgba_lies_on_white():
    rgba = noise(channels=4)
    rgba[..., 3] = np.where(np.arange(12) % 2, 255, 0)
    got = pixels(png(rgba))
    assert (got[:, ::2] == 255).all()
    assert np.array_equal(got[:, 1::2], rgba[:, 1::2, :3])


def test_half_transparent_black_is_mid_grey():
    assert abs(int(pixels(png(np.full((2, 2, 4), (0, 0, 0, 128), np.uint8)))[0, 0, 0]) - 127) <= 1


def test_grey_with_alpha_lies_on_white():
    got = pixels(saved(Image.fromarray(np.array([[[10, 255], [10, 0]]], np.uint8)), "PNG"))
    assert got[0, :, 0].tolist() == [10, 255]


def test_palette_gives_its_colours():
    picture = Image.fromarray(noise()).quantize(16)
    assert np.array_equal(pixels(saved(picture, "PNG")), np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette_with_a_transparent_entry_lies_on_white(kind):
    picture = Image.new("P", (2, 1))
    picture.putpalette([200, 0, 0, 0, 0, 200])
    picture.putpixel((1, 0), 1)
    got = pixels(saved(picture, kind, transparency=1))
    assert got[0].tolist() == [[200, 0, 0], [255, 255, 255]]


def test_palette_with_partly_transparent_entries_lies_on_white():
    picture = Image.new("P", (2, 1))
    picture.putpalette([0, 0, 0, 0, 0, 200])
    picture.putpixel((1, 0), 1)
    got = pixels(saved(picture, "PNG", transparency=bytes([128, 0])))
    assert abs(int(got[0, 0, 0]) - 127) <= 1 and got[0, 1].tolist() == [255, 255, 255]


def test_rgb_with_a_transparent_colour_lies_on_white():
    got = pixels(png(np.array([[[1, 2, 3], [9, 9, 9]]], np.uint8), transparency=(1, 2, 3)))
    assert got[0].tolist() == [[255, 255, 255], [9, 9, 9]]


def test_cmyk_becomes_rgb():
    got = pixels(saved(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "TIFF"))
    assert got[0, 0].tolist() == [255, 0, 0]


def test_cmyk_jpeg_is_not_inverted():
    got = pixels(saved(Image.new("CMYK", (16, 16), (0, 0, 0, 0)), "JPEG", quality=95))
    assert got.min() > 240


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_sixteen_bits_are_scaled_not_clipped(order):
    deep = (np.arange(256, dtype=np.uint32) * 257).astype(order).reshape(16, 16)
    picture = Image.frombytes("I;16B" if order == ">u2" else "I;16", (16, 16), deep.tobytes())
    assert np.array_equal(pixels(saved(picture, "TIFF" if order == ">u2" else "PNG"))[..., 0].ravel(), np.arange(256))


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        (
            [np.full((4, 4), 512, np.uint16), np.full((4, 4), 60000, np.uint16)],
            (0, 65535),
        ),  # a dark one among others stays dark
        ([np.array([[0, 4000]], np.uint16)], (0, 4095)),
        ([np.array([[3, 9000]], np.int32)], (0, 16383)),
        ([np.array([[0.0, 0.7]], np.float32)], (0, 1)),
        ([np.array([[0.0, 700.0]], np.float32)], (0, 700)),
        ([np.array([[-0.4, 0.7]], np.float32), np.array([[np.nan, 0.1]], np.float32)], (-1, 1)),
        ([noise()], None),
    ],
)
def test_one_range_for_the_deep_pictures_of_a_set(arrays, expected):
    files = [saved(Image.fromarray(array), "TIFF") for array in arrays]
    assert decode.range_of([*files, b"junk"]) == expected
    if expected and len(arrays) == 2 and expected[1] == 65535:
        assert np.asarray(decode.read(files[0], grey=decode.range_of(files))).max() == 2


def test_thirty_two_bit_and_float_tiffs():
    whole = Image.fromarray(np.array([[0, 65535]], np.int32))
    floats = Image.fromarray(np.array([[0.0, 1.0]], np.float32))
    for picture in (whole, floats):
        assert pixels(saved(picture, "TIFF"))[0, :, 0].tolist() == [0, 255]


def test_one_bit_is_black_and_white():
    got = pixels(saved(Image.fromarray(np.array([[False, True]])), "PNG"))
    assert got[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_undone_and_the_size_agrees(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    raw = noise(6, 4)
    file = png(raw, exif=exif)
    turned = {
        1: raw,
        2: raw[:, ::-1],
        3: raw[::-1, ::-1],
        4: raw[::-1],
        5: raw.swapaxes(0, 1),
        6: np.rot90(raw, -1),
        7: np.rot90(raw, 2).swapaxes(0, 1),
        8: np.rot90(raw),
    }[orientation]
    assert np.array_equal(pixels(file), turned)
    assert decode.size(file) == turned.shape[1::-1]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_cost_the_picture():
    file = saved(Image.fromarray(noise()), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert pixels(file).shape == (9, 12, 3)
    assert decode.size(file) == (12, 9)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_a_truncated_file_is_broken(kind):
    whole = saved(Image.fromarray(noise(64, 64)), kind)
    with pytest.raises(decode.UnusableImage, match="broken"):
        decode.read(whole[: len(whole) * 6 // 10])


@pytest.mark.parametrize("junk", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_junk_is_broken(junk):
    with pytest.raises(decode.UnusableImage, match="broken"):
        decode.read(junk)


def test_a_missing_file(tmp_path):
    with pytest.raises(decode.UnusableImage, match="missing"):
        decode.read(str(tmp_path / "nothing.png"))


def test_a_flipped_byte_is_broken():
    file = bytearray(png(noise(64, 64)))
    file[len(file) // 2] ^= 255
    with pytest.raises(decode.UnusableImage, match="broken"):
        decode.read(bytes(file))


@pytest.mark.parametrize("side", [10_000, 60_000])  # over Pillow's limit, and over twice that
def test_a_decompression_bomb_is_too_large(side):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b""))
    )
    for act in (decode.read, decode.size):
        with pytest.raises(decode.UnusableImage, match="too_large"):
            act(bomb)


def test_only_the_formats_of_photographs_are_read():
    assert set(decode.FORMATS) <= set(Image.OPEN)
    for kind in ("PCX", "EPS"):
        with pytest.raises(decode.UnusableImage, match="broken"):
            decode.size(saved(Image.fromarray(noise()), kind))


def test_a_draft_is_smaller_but_not_too_small():
    file = saved(Image.fromarray(noise(800, 600)), "JPEG")
    assert decode.read(file).size == (800, 600)
    assert decode.read(file, draft=100).size == (200, 150)


@pytest.mark.parametrize("kind", ["HEIF", "JXL", "AVIF", "JPEG2000", "WEBP"])
def test_formats_of_phones_and_of_the_web(kind):
    file = saved(Image.new("RGB", (32, 24), (200, 40, 40)), kind)
    assert np.abs(pixels(file)[12, 12].astype(int) - (200, 40, 40)).max() < 6 and decode.size(file) == (32, 24)


@pytest.mark.parametrize(("kind", "reason"), [("HEIF", "needs_heif"), ("JXL", "needs_jxl")])
def test_a_missing_plug_in_is_the_reason(kind, reason, monkeypatch):
    file = saved(Image.fromarray(noise(32, 32)), kind)
    monkeypatch.delitem(Image.OPEN, kind)
    with pytest.raises(decode.UnusableImage, match=reason):
        decode.read(file)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    picture, marks = decode.read_marked(saved(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert picture.getpixel((0, 0)) == (255, 0, 0) and marks == {"frames"}


def test_a_ground_for_transparency_and_none_where_all_is_opaque():
    half = png(np.full((2, 2, 4), (0, 0, 0, 0), np.uint8))
    picture, marks = decode.read_marked(half, ground="#102030")
    assert picture.getpixel((0, 0)) == (16, 32, 48) and marks == {"transparent"}
    assert decode.read_marked(png(np.full((2, 2, 4), 255, np.uint8)))[1] == set()


def swapped_primaries() -> bytes:
    """The profile of a screen whose red is sRGB's blue and whose blue is its red."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    names = {
        b"rXYZ": b"????",
        b"bXYZ": b"rXYZ",
        b"????": b"bXYZ",
        "sRGB".encode("utf-16-be"): "test".encode("utf-16-be"),
    }
    for name, other in names.items():
        profile = profile.replace(name, other)
    return profile


def test_a_profile_is_applied_and_srgb_is_left_alone():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert decode.read_marked(png(noise(), icc_profile=srgb))[1] == set()
    assert np.array_equal(pixels(png(noise(), icc_profile=b"nonsense")), noise())
    red = np.full((4, 4, 3), (200, 10, 10), np.uint8)
    picture, marks = decode.read_marked(png(red, icc_profile=swapped_primaries()))
    r, _, b = picture.getpixel((0, 0))
    assert marks == {"profiles"} and b > 150 > 60 > r
