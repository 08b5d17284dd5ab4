"""The description of a file as text for people."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_LABEL = 14  # width of the first column
_MOST_ROWS = 12  # of a table
_MOST_HISTORY = 8
_MOST_NAMED = 6

Described = dict[str, Any]


def as_text(path: str, described: Described) -> str:
    """Return the description of an exposure, or of a file of models, as aligned lines.

    Parameters
    ----------
    path : str
        The file as the user named it.
    described : dict
        What `skytool.io.describe.describe_exposure` returns.
    """
    lines = [path]
    for label, text in _parts(described):
        first, *others = text if isinstance(text, list) else [text]
        lines.append(f"  {label:<{_LABEL}}{first}")
        lines += [f"  {'':<{_LABEL}}{line}" for line in others]
    return "\n".join(line.rstrip() for line in lines)


def _parts(described: Described) -> Iterator[tuple[str, str | list[str]]]:
    """Yield what each line or block is called, and its text."""
    yield "layout", _layout(described)
    if described["observation"]:
        yield "observation", _observation(described["observation"])
    if "shape" in described:
        yield from _of_exposure(described)
    yield "extensions", _extensions(described["extensions"])
    yield from _records(described)
    if described["history"]:
        history = described["history"]
        left_out = len(history) - _MOST_HISTORY
        more = [f"({left_out} earlier lines)"] if left_out > 0 else []
        yield "history", more + history[-_MOST_HISTORY:]


def _layout(described: Described) -> str:
    file = described["file"]
    kind = f" {described['kind']}" if "kind" in described else ""
    stage = f", written by {described['stage']}" if "stage" in described else ""
    maker = f" of {described['creator']}" if stage and "creator" in described else ""
    beside = ", ".join(described.get("siblings", ()))
    with_siblings = f", with {beside}" if beside else ""
    sums = {"all": "checksums", "some": "checksums in part", "none": "no checksums"}
    compressed = ", compressed" if file["compressed"] else ""
    return (
        f"{described['layout']}{kind}{stage}{maker}{with_siblings}; {_bytes(file['size'])}"
        f"{compressed}, {sums[file['checksums']]}"
    )


def _observation(seen: Mapping[str, Any]) -> str:
    parts = [
        f"{name} {seen[name]}" if name in seen else "" for name in ("visit", "detector", "filter")
    ]
    if "exposure_time" in seen:
        parts.append(f"{seen['exposure_time']:.6g} s")
    if "airmass" in seen:
        parts.append(f"airmass {seen['airmass']:.3f}")
    if "mjd_mid" in seen:
        parts.append(f"MJD {seen['mjd_mid']:.6f}")
    parts += [str(seen[name]) for name in ("target", "telescope", "instrument") if name in seen]
    return ", ".join(filter(None, parts))


def _of_exposure(described: Described) -> Iterator[tuple[str, str | list[str]]]:
    """Yield the lines about pixels, sky, mask, PSF and backgrounds."""
    ny, nx = described["shape"]
    unit = described["unit"]
    text = f"{nx} x {ny} pixels, {described['dtype']}, {f'unit {unit}' if unit else 'no unit'}"
    y0, x0 = described["origin"]["y"], described["origin"]["x"]
    if y0 or x0:
        text += f", first pixel at ({x0}, {y0}) of the parent frame"
    yield "image", text
    yield "sky", _sky(described["wcs"])
    yield "calibration", _calibration(described["calibration"], unit)
    if "image" not in described:
        return
    yield "values", _values(described["image"], unit)
    yield "variance", _variance(described["variance"])
    yield "PSF", _psf(described["psf"], described["wcs"])
    yield "mask", _mask(described["planes"])
    if described["backgrounds"]:
        yield "background", [_background(layer, unit) for layer in described["backgrounds"]]


def _sky(wcs: Described | None) -> str | list[str]:
    if wcs is None:
        return "no coordinates"
    distortion = wcs["distortion"]
    bent = ""
    if distortion is not None:
        by = f", up to {distortion['largest']:.3g} pixel" if "largest" in distortion else ""
        bent = f", distorted by {distortion['kind']}{by}"
    how = f"{wcs['projection']} {wcs['frame']}{bent}"
    if "problem" in wcs:
        return [how, wcs["problem"]]
    low, high = wcs["pixel_scale_range"]
    scale = f"{wcs['pixel_scale']:.5g}"
    if high - low > 1e-3 * wcs["pixel_scale"]:
        scale += f" ({low:.5g} to {high:.5g})"
    height, width = wcs["size"]
    turned = f"y axis {_turn(wcs['position_angle'])}"
    flip = ", mirrored (east is right where north is up)" if wcs["mirrored"] else ""
    degrees = f"({wcs['ra']:.5f} {wcs['dec']:+.5f})"
    return [
        how,
        f"centre {wcs['position']} {degrees}, {_angle(width)} x {_angle(height)}",
        f"{scale} arcsec/pixel, {turned}{flip}",
    ]


def _turn(angle: float) -> str:
    """Return a position angle as a turn from north."""
    turn = (angle + 180.0) % 360.0 - 180.0
    if abs(turn) < 0.05:
        return "to the north"
    if abs(turn) > 179.95:
        return "to the south"
    return f"{abs(turn):.1f} deg from north to {'east' if turn > 0 else 'west'}"


def _calibration(calibration: Described | None, unit: str) -> str:
    if calibration is None:
        return "none: nothing says what one unit is"
    error = calibration["relative_error"]
    accuracy = f" to {100 * error:.2g} %" if error else ""
    varies = ", varies over the image" if calibration["varies"] else ""
    zero_point = f"zero point {calibration['zero_point']:.3f} AB mag"
    if unit == "nJy" and abs(calibration["nJy_per_unit"] - 1) < 1e-9:
        return f"flux in nJy{accuracy}{varies}, {zero_point}"
    return f"1 {unit or 'unit'} is {calibration['nJy_per_unit']:.6g} nJy{accuracy}{varies}, {zero_point}"


def _values(image: Described, unit: str) -> str:
    coverage = f"{_percent(image['coverage'])} of the pixels"
    if "median" not in image:
        return "none"
    sky, rms = image["sky"], image["sky_rms"]
    level = f"sky {_number(sky)}, scatter {_number(rms)} {unit}".rstrip()
    if math.isnan(rms):
        level = "too few to tell the sky and its scatter"
    return (
        f"{coverage}; {level}; {_number(image['min'])} to {_number(image['max'])}, "
        f"median {_number(image['median'])}"
    )


def _variance(variance: Described) -> str:
    sources = {
        "VARIANCE": "stored",
        "variance": "from a plane of variance",
        "weight": "from weights",
        "error": "from errors",
        "constant": "constant, from the header",
        "estimate": "estimated from the image",
    }
    if "median" not in variance:
        return "none"
    how = sources[variance["from"]]
    text = f"{how}; median {_number(variance['median'])}"
    if variance["min"] != variance["max"]:
        text += f", {_number(variance['min'])} to {_number(variance['max'])}"
    ratio = variance["sky_rms_over_predicted"]
    return text if math.isnan(ratio) else f"{text}; the sky scatters {ratio:.3f} times as much"


def _psf(psf: Described | None, wcs: Described | None) -> str:
    if psf is None:
        return "none"
    kinds = {
        "ConstantPsf": "the same image everywhere",
        "GridPsf": f"images at {psf.get('stamps')} places",
        "CoaddPsf": f"from those of {psf.get('inputs')} inputs",
        "BasisPsf": "images with varying factors",
        "AnalyticPsf": "a formula",
    }
    h, w = psf["shape"]
    text = f"{kinds.get(psf['kind'], psf['kind'])}, {w} x {h} pixels"
    if "problem" in psf:
        return f"{text}; {psf['problem']}"
    low, high = psf["fwhm_range"]
    width = f"{psf['fwhm']:.3f} pixel"
    if wcs is not None and "pixel_scale" in wcs:
        width += f" = {psf['fwhm'] * wcs['pixel_scale']:.3f} arcsec"
    varies = f" ({low:.3f} to {high:.3f})" if high - low > 5e-4 else ""
    return f"{text}; FWHM {width}{varies}, of a fitted Gaussian {psf['adaptive_fwhm']:.3f}"


def _mask(planes: Sequence[Described]) -> list[str]:
    """Return a line for each plane that is set, and the names of the others."""
    rows = [
        (str(plane["bit"]), plane["name"], str(plane["pixels"]), _percent(plane["share"]))
        for plane in planes
        if plane["pixels"]
    ]
    empty = [plane["name"] for plane in planes if not plane["pixels"]]
    if not rows:
        return [f"no pixel is flagged; there are {len(empty)} planes"]
    lines = _table([("bit", "plane", "pixels", "share"), *rows], (">", "<", ">", ">"))
    named = ", ".join(empty) if len(empty) <= _MOST_NAMED else f"{len(empty)} more planes"
    return lines + ([f"set nowhere: {named}"] if empty else [])


def _background(layer: Described, unit: str) -> str:
    done = "added" if layer["operation"] == "ADD" else "subtracted"
    by = f" by {layer['stage']}" if layer["stage"] else ""
    scale = f", times {layer['scale']:.6g}" if layer["scale"] != 1 else ""
    sky = f" of {layer['sky_file']}" if layer["sky_file"] else ""
    low, high = layer["range"]
    return (
        f"{done}{by}: {layer['model']}{sky}{scale}, median {_number(layer['median'])} {unit}".rstrip()
        + f", {_number(low)} to {_number(high)}"
    )


def _extensions(extensions: Sequence[Described]) -> list[str]:
    rows = []
    for entry in extensions:
        what = "no data"
        if entry["type"] == "image":
            what = " x ".join(str(n) for n in reversed(entry["axes"])) + f" {entry['dtype']}"
        elif entry["type"] == "table":
            what = f"table of {entry['rows']} rows: {', '.join(entry['columns'])}"
        model = entry.get("model", entry.get("psf_kind", ""))
        version = f",{entry['version']}" if entry["version"] != 1 else ""
        text = f"{what}{f', {model}' if model else ''}"
        rows.append((str(entry["number"]), f"{entry['name']}{version}", _cut(text, 90)))
    return _table(rows, (">", "<", "<"))


def _records(described: Described) -> Iterator[tuple[str, list[str]]]:
    """Yield inputs, visits, detectors and settings."""
    if described.get("inputs"):
        yield "inputs", _inputs(described["inputs"])
    for name, columns in (
        ("visits", ("name", "filter", "goodpix", "exptime", "mjd", "airmass")),
        ("ccds", ("visit", "ccd", "file", "goodpix", "scale", "filled", "skyadd", "skysub")),
    ):
        if described.get(name):
            rows = [tuple(_cell(row.get(key, "")) for key in columns) for row in described[name]]
            yield name, _limited([columns, *rows], tuple(">" for _ in columns))
    if described.get("settings"):
        yield "settings", _settings(described["settings"])


def _inputs(records: Sequence[Described]) -> list[str]:
    rows = [
        (
            record["role"],
            f"{record['file']}[{record['extension']}]" if record["extension"] else record["file"],
            record["status"] if not record["reason"] else f"{record['status']}: {record['reason']}",
            "" if math.isnan(record["scale"]) else f"scale {record['scale']:.6g}",
            "" if math.isnan(record["weight"]) else f"weight {record['weight']:.6g}",
        )
        for record in records
    ]
    return _limited(rows, ("<", "<", "<", "<", "<"))


def _settings(records: Sequence[Described]) -> list[str]:
    """Return the settings of every stage that are not defaults."""
    lines = []
    for stage in dict.fromkeys(record["stage"] for record in records):
        mine = [record for record in records if record["stage"] == stage]
        changed = [f"{r['name']} = {r['value']}" for r in mine if r["source"] != "default"]
        rest = len(mine) - len(changed)
        text = "; ".join([*changed, f"{rest} defaults"])
        lines += _wrapped(f"{stage}: {text}")
    return lines


def _limited(rows: Sequence[Sequence[str]], aligned: Sequence[str]) -> list[str]:
    lines = _table(rows[:_MOST_ROWS], aligned)
    if len(rows) > _MOST_ROWS:
        lines.append(f"and {len(rows) - _MOST_ROWS} more")
    return lines


def _table(rows: Iterable[Sequence[str]], aligned: Sequence[str]) -> list[str]:
    """Return rows with their columns below each other."""
    rows = list(rows)
    widths = [max((len(row[n]) for row in rows), default=0) for n in range(len(aligned))]
    return [
        "  ".join(
            f"{cell:{side}{width}}" for cell, side, width in zip(row, aligned, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def _wrapped(text: str, width: int = 96) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _cell(value: object) -> str:
    return f"{value:.8g}" if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    return f"{value:.5g}"


def _percent(share: float) -> str:
    """Return a share in percent; what is not all or nothing never looks so."""
    percent = 100.0 * share
    if 0.0 < percent < 0.001:
        return "<0.001 %"
    if 99.999 < percent < 100.0:
        return ">99.999 %"
    return f"{percent:.3f}".rstrip("0").rstrip(".") + " %"


def _angle(arcsec: float) -> str:
    """Return an angle in the unit in which it is a handy number."""
    if arcsec >= 7200.0:
        return f"{arcsec / 3600.0:.4g} deg"
    return f"{arcsec / 60.0:.4g} arcmin" if arcsec >= 120.0 else f"{arcsec:.4g} arcsec"


def _bytes(size: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
