"""Cards of real exposures, as their observatories wrote them."""

from astropy.io import fits

DECAM = {
    "TELESCOP": "CTIO 4.0-m telescope",
    "OBSERVAT": "CTIO",
    "INSTRUME": "DECam",
    "OBS-LAT": -30.16606,
    "OBS-LONG": 70.81489,  # the comment says east
    "OBS-ELEV": 2215.0,
    "EXPTIME": 107.0,
    "DATE-OBS": "2017-03-16T06:18:30.750961",
    "TIMESYS": "UTC",
    "FILTER": "z DECam SDSS c0004 9260.0 1520.0",
    "RA": "12:29:17.64",
    "DEC": "25:28:45.5",
    "HA": "00:41:22.890",
    "ZD": 56.41,
    "AZ": 348.8197,
    "AIRMASS": 1.8,
    "HUMIDITY": 40.0,
    "PRESSURE": 779.0,  # the comment says Torr
    "OUTTEMP": 13.8,
}
HSC = {
    "TELESCOP": "Subaru",
    "INSTRUME": "Hyper Suprime-Cam",
    "UT-STR": "06:15:55.908",
    "LST-STR": "22:40:45.506",
    "MJD-STR": 56598.26106374757,
    "MJD-END": 56598.26143435203,
    "ZD-STR": 26.95640767,
    "ZD-END": 27.04809579,
    "DATE-OBS": "2013-11-02",
    "UT": "06:15:55.927",
    "LST": "22:40:45.525",
    "AIRMASS": 1.121626027604189,
    "AZIMUTH": 226.68922661,
    "ALTITUDE": 63.04359233,
    "RA": "21:22:59.982",
    "DEC": "+00:30:00.07",
    "EXPTIME": 30.0,
    "OUT-TMP": 272.35,
    "OUT-HUM": 33.1,
    "OUT-PRS": 621.7,
    "FILTER01": "HSC-i",
}
SUPRIME_CAM = {
    "TELESCOP": "Subaru",
    "OBSERVAT": "NAOJ",
    "INSTRUME": "SuprimeCam",
    "DATE-OBS": "2007-04-23",
    "UT": "08:02:27.204",
    "UT-STR": "08:02:27.204",
    "LST": "11:44:29.655",
    "MJD-STR": 54213.335036,
    "MJD-END": 54213.337348,
    "ZD-STR": 43.028,
    "ZD-END": 42.454,
    "AIRMASS": 1.354,
    "AZIMUTH": 132.649,
    "ALTITUDE": 46.971,
    "RA": "13:46:57.675",
    "DEC": "-10:43:59.49",
    "EXPTIME": 200.0,
    "OUT-TMP": 273.15,
    "OUT-HUM": 4.9,
    "OUT-PRS": 621.5,
    "FILTER01": "W-S-R+",
}
CFHT = {
    "TELESCOP": "CFHT 3.6m",
    "INSTRUME": "MegaPrime",
    "LATITUDE": 19.825252,
    "LONGITUD": -155.468876,
    "EXPTIME": 615.037,
    "DATE-OBS": "2008-11-01",
    "UTC-OBS": "14:33:32.40",
    "MJD-OBS": 54771.606625,
    "LST-OBS": "6:56:39.82",
    "RA": "9:01:38.26",
    "DEC": "-2:24:00.0",
    "HA": "-2:04:58.44",
    "HAEND": "-1:53:47.05",
    "AIRMASS": 1.269,
    "TELALT": 52.02,
    "TELAZ": 122.34,
    "TEMPERAT": 0.9,
    "RELHUMID": 39.77,
    "PRESSURE": 617.65,
    "FILTER": "i.MP9702",
}
RUBIN = {
    "TELESCOP": "Simonyi Survey Telescope",
    "INSTRUME": "lsstCam",
    "TIMESYS": "TAI",
    "MJD-BEG": 60781.29395893449,
    "MJD-END": 60781.29431706155,
    "EXPTIME": 30.0,
    "OBS-LONG": -70.749417,
    "OBS-LAT": -30.244639,
    "OBS-ELEV": 2663.0,
    "RA": 198.7916561377656,
    "DEC": -23.613919343527957,
    "HASTART": 2.697562166830544,
    "HAEND": 2.7061941078874954,
    "ELSTART": 53.5621842035848,
    "ELEND": 53.4499423456554,
    "AZSTART": -89.7259151356238,
    "AZEND": -89.7921136985133,
    "AMSTART": 1.242399754628946,
    "AMEND": 1.244190145643025,
    "AIRTEMP": 10.350000381469727,
    "PRESSURE": 74225.0,
    "HUMIDITY": 25.475000381469727,
    "FILTER": "i_39",
}
SAAO = {
    "TELESCOP": "SAAO 1.0m",
    "OBSERVAT": "SAAO",
    "EXPTIME": 300.036,
    "DATE-OBS": "2013-07-07",
    "UT": "18:22:22",
    "MJD-OBS": 56480.76553,
    "ST": "14:49:07",
    "RA": "18:15:29",
    "DEC": "-25:17:06",
}


def header(cards, *left_out, **changed):
    """Return a header of cards, without some and with others changed (``_`` for ``-``)."""
    found = fits.Header()
    for key, value in {**cards, **{k.replace("_", "-"): v for k, v in changed.items()}}.items():
        if key not in left_out:
            found[key if len(key) <= 8 and " " not in key else f"HIERARCH {key}"] = value
    return found
