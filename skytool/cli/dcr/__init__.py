"""``skytool dcr-shifts``, ``dcr-assemble`` and ``dcr-template``."""
