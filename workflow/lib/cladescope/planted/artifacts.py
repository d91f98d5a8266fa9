"""How the planted artifacts are drawn: one entry per part, named after the classes that have it."""

from cladescope.planted.drawing import (
    Part,
    Role,
    box,
    dots,
    ellipse,
    flipped_over,
    line,
    mirrored,
    polygon,
)

BODY, SHADE, ACCENT, DARK, LIGHT = Role

WOODWINDS: dict[str, Part] = {
    # tube with finger holes
    "woodwind": (
        *box(BODY, -0.76, -0.15, 0.7, 0.15),
        *dots(LIGHT, 0.075, -0.4, 0.0, -0.2, 0.0, 0.0, 0.0, 0.2, 0.0, 0.4, 0.0),
        *dots(LIGHT, 0.075, 0.6, 0.0),
    ),
    # reed
    "beating-reed instrument": (
        *polygon(ACCENT, -1.0, -0.1, -0.74, -0.16, -0.74, 0.16, -1.0, 0.1),
    ),
    # rings
    "double-reed instrument": (
        *box(DARK, -0.64, -0.21, -0.54, 0.21),
        *box(DARK, -0.1, -0.2, -0.06, 0.2),
    ),
    "flute": (
        *box(BODY, -1.0, -0.15, -0.7, 0.15),
        *box(BODY, 0.65, -0.15, 1.0, 0.15),
        *ellipse(ACCENT, -0.7, -0.06, 0.19, 0.22),
        *ellipse(DARK, -0.7, -0.06, 0.09, 0.07),
        *box(DARK, -1.0, -0.15, -0.93, 0.15),
        *dots(SHADE, 0.07, -0.3, -0.2, -0.1, -0.2, 0.1, -0.2, 0.3, -0.2, 0.5, -0.2, 0.8, -0.2),
    ),
    "oboe": (
        *polygon(BODY, 0.6, -0.15, 0.86, -0.28, 0.99, -0.44, 0.99, 0.44, 0.86, 0.28, 0.6, 0.15),
        *box(DARK, 0.93, -0.44, 0.99, 0.44),
    ),
    "bassoon": (
        *box(BODY, -0.5, 0.22, 0.94, 0.54),
        *box(DARK, 0.72, -0.2, 0.98, 0.58),
        *box(LIGHT, -0.5, 0.22, -0.4, 0.54),
        *dots(SHADE, 0.08, -0.1, 0.38, 0.2, 0.38, 0.5, 0.38),
        *line(SHADE, 0.08, -0.5, 0.38, -0.8, 0.5, -0.95, 0.8),
    ),
    "sax": (
        *line(BODY, 0.34, 0.6, 0.0, 0.8, -0.15, 0.74, -0.44, 0.5, -0.5),
        *polygon(BODY, 0.72, -0.66, 0.1, -0.99, -0.1, -0.42, 0.5, -0.28),
        *polygon(DARK, 0.14, -0.99, -0.02, -0.94, -0.2, -0.48, -0.08, -0.4),
        *line(SHADE, 0.14, -0.7, 0.0, -0.86, 0.2, -0.84, 0.5),
    ),
}

STRINGED_INSTRUMENTS: dict[str, Part] = {
    # bouts, neck, strings
    "stringed instrument": (
        *ellipse(BODY, 0.0, 0.45, 0.42, 0.38),
        *ellipse(BODY, 0.0, 0.05, 0.3, 0.26),
        *box(DARK, -0.08, -0.82, 0.08, 0.12),
        *box(SHADE, -0.14, -1.0, 0.14, -0.78),
        *line(LIGHT, 0.025, -0.03, -0.8, -0.03, 0.6),
        *line(LIGHT, 0.025, 0.03, -0.8, 0.03, 0.6),
    ),
    # corners, f-holes, tailpiece
    "bowed stringed instrument": (
        *mirrored(polygon(BODY, 0.1, 0.06, 0.42, 0.1, 0.3, 0.2, 0.44, 0.3, 0.1, 0.36)),
        *mirrored(line(DARK, 0.06, 0.16, 0.2, 0.21, 0.3, 0.17, 0.42)),
        *polygon(DARK, -0.1, 0.55, 0.1, 0.55, 0.05, 0.82, -0.05, 0.82),
    ),
    "violin body": (
        *ellipse(BODY, 0.0, 0.48, 0.46, 0.38),
        *ellipse(BODY, 0.0, -0.02, 0.38, 0.26),
    ),
    "violin": (
        *line(ACCENT, 0.08, 0.98, -0.72, -0.72, 0.98),
        *ellipse(DARK, 0.28, 0.72, 0.18, 0.12),
    ),
    "cello body": (
        *ellipse(BODY, 0.0, 0.44, 0.64, 0.42),
        *ellipse(BODY, 0.0, -0.08, 0.5, 0.36),
        *line(DARK, 0.08, 0.0, 0.8, 0.0, 1.0),
    ),
    "cello": (
        *line(ACCENT, 0.07, -0.98, 0.48, 0.98, 0.48),
        *mirrored(ellipse(SHADE, 0.3, 0.7, 0.1, 0.05)),
    ),
    # bridge and fret marks
    "guitar": (
        *box(LIGHT, -0.22, 0.58, 0.22, 0.68),
        *box(LIGHT, -0.09, -0.62, 0.09, -0.56),
        *box(LIGHT, -0.09, -0.42, 0.09, -0.36),
        *box(LIGHT, -0.09, -0.22, 0.09, -0.16),
    ),
    "acoustic guitar body": (
        *ellipse(BODY, 0.0, 0.5, 0.56, 0.46),
        *ellipse(BODY, 0.0, 0.04, 0.4, 0.32),
    ),
    "acoustic guitar": (
        *ellipse(ACCENT, 0.0, 0.2, 0.24, 0.22),
        *ellipse(DARK, 0.0, 0.2, 0.17, 0.15),
    ),
    "electric guitar": (
        *polygon(BODY, -0.14, 0.3, -0.5, -0.26, -0.36, -0.3, -0.08, 0.0),
        *polygon(BODY, 0.14, 0.3, 0.52, -0.12, 0.4, -0.2, 0.08, 0.06),
        *polygon(ACCENT, 0.06, 0.12, 0.32, 0.3, 0.36, 0.62, 0.1, 0.56),
        *box(DARK, -0.2, 0.2, 0.2, 0.29),
        *box(DARK, -0.2, 0.42, 0.2, 0.51),
        *dots(LIGHT, 0.05, 0.3, 0.72, 0.2, 0.78),
        *polygon(SHADE, -0.14, -0.78, 0.14, -0.78, 0.3, -1.0, -0.06, -1.0),
    ),
}

MOTOR_VEHICLES: dict[str, Part] = {
    # wheels
    "motor vehicle": (
        *dots(DARK, 0.22, -0.55, 0.45, 0.55, 0.45),
        *dots(LIGHT, 0.1, -0.55, 0.45, 0.55, 0.45),
    ),
    # low body with lamps
    "car": (
        *box(BODY, -0.92, 0.0, 0.92, 0.42),
        *box(SHADE, -0.98, 0.28, 0.98, 0.42),
        *ellipse(ACCENT, -0.86, 0.12, 0.07),
        *ellipse(ACCENT, 0.86, 0.12, 0.07),
    ),
    "sports car": (
        *polygon(BODY, -0.3, 0.05, -0.02, -0.22, 0.36, -0.22, 0.66, 0.05),
        *polygon(LIGHT, -0.14, 0.0, 0.02, -0.16, 0.32, -0.16, 0.46, 0.0),
        *polygon(BODY, -0.98, 0.28, -0.92, 0.06, -0.4, -0.06, -0.2, 0.05),
        *line(DARK, 0.06, 0.78, 0.02, 0.84, -0.24),
        *line(DARK, 0.09, 0.66, -0.26, 0.99, -0.24),
        *line(ACCENT, 0.09, -0.72, 0.16, 0.72, 0.16),
    ),
    "cab": (
        *polygon(BODY, -0.58, 0.02, -0.36, -0.36, 0.36, -0.36, 0.62, 0.02),
        *polygon(LIGHT, -0.42, -0.02, -0.27, -0.28, -0.04, -0.28, -0.04, -0.02),
        *polygon(LIGHT, 0.05, -0.02, 0.05, -0.28, 0.28, -0.28, 0.44, -0.02),
        *box(ACCENT, -0.2, -0.58, 0.2, -0.37),
        *box(DARK, -0.7, 0.06, -0.58, 0.14),
        *box(DARK, -0.46, 0.06, -0.34, 0.14),
        *box(DARK, -0.22, 0.06, -0.1, 0.14),
        *box(DARK, 0.02, 0.06, 0.14, 0.14),
        *box(DARK, 0.26, 0.06, 0.38, 0.14),
        *box(DARK, 0.5, 0.06, 0.62, 0.14),
    ),
    "jeep": (
        *box(BODY, -0.42, -0.62, 0.7, 0.02),
        *box(DARK, -0.48, -0.7, 0.76, -0.58),
        *box(LIGHT, -0.32, -0.5, 0.06, -0.06),
        *box(LIGHT, 0.18, -0.5, 0.6, -0.06),
        *ellipse(DARK, 0.95, 0.0, 0.1, 0.26),
        *box(DARK, -0.92, -0.08, -0.5, 0.02),
    ),
    "limousine": (
        *box(BODY, -1.0, 0.04, 1.0, 0.4),
        *polygon(BODY, -0.84, 0.05, -0.68, -0.24, 0.76, -0.24, 0.9, 0.05),
        *polygon(DARK, -0.72, 0.0, -0.62, -0.18, -0.42, -0.18, -0.42, 0.0),
        *box(DARK, -0.34, -0.18, -0.08, 0.0),
        *box(DARK, 0.0, -0.18, 0.26, 0.0),
        *polygon(DARK, 0.34, 0.0, 0.34, -0.18, 0.66, -0.18, 0.76, 0.0),
        *line(DARK, 0.04, 0.82, -0.1, 0.94, -0.5),
        *line(LIGHT, 0.05, -0.9, 0.18, 0.9, 0.18),
    ),
    # driver's cab, frame and third wheel
    "truck": (
        *box(SHADE, -0.46, 0.24, 0.96, 0.42),
        *box(BODY, -0.96, -0.4, -0.42, 0.42),
        *box(LIGHT, -0.88, -0.3, -0.54, -0.02),
        *dots(DARK, 0.18, 0.12, 0.48),
    ),
    "fire engine": (
        *box(BODY, -0.4, -0.2, 0.96, 0.3),
        *box(LIGHT, -0.4, 0.02, 0.96, 0.1),
        *line(LIGHT, 0.06, -0.5, -0.44, 0.98, -0.7),
        *line(LIGHT, 0.06, -0.5, -0.28, 0.98, -0.5),
        *line(LIGHT, 0.05, -0.2, -0.5, -0.2, -0.3),
        *line(LIGHT, 0.05, 0.1, -0.55, 0.1, -0.36),
        *line(LIGHT, 0.05, 0.4, -0.6, 0.4, -0.42),
        *line(LIGHT, 0.05, 0.7, -0.65, 0.7, -0.46),
        *box(ACCENT, -0.8, -0.54, -0.6, -0.4),
    ),
    "garbage truck": (
        *polygon(SHADE, -0.36, -0.72, 0.6, -0.72, 0.99, -0.2, 0.86, 0.3, -0.36, 0.3),
        *line(DARK, 0.08, -0.1, -0.72, -0.1, 0.28),
        *line(DARK, 0.08, 0.2, -0.72, 0.2, 0.28),
        *line(DARK, 0.08, 0.5, -0.72, 0.5, 0.28),
        *polygon(ACCENT, 0.62, 0.0, 0.99, -0.16, 0.86, 0.34, 0.62, 0.34),
    ),
    "tow truck": (
        *box(BODY, -0.4, 0.12, 0.3, 0.3),
        *line(DARK, 0.12, -0.1, 0.2, 0.8, -0.78),
        *line(DARK, 0.08, 0.4, 0.24, 0.42, -0.34),
        *line(DARK, 0.06, 0.8, -0.78, 0.8, -0.22),
        *ellipse(ACCENT, 0.8, -0.16, 0.12),
    ),
    "pickup": (
        *polygon(BODY, -0.44, -0.4, -0.2, -0.4, 0.0, 0.0, -0.44, 0.0),
        *polygon(LIGHT, -0.4, -0.3, -0.24, -0.3, -0.12, -0.04, -0.4, -0.04),
        *box(BODY, -0.44, -0.02, 0.98, 0.32),
        *box(DARK, 0.02, -0.06, 0.92, 0.04),
        *line(ACCENT, 0.07, -0.94, 0.16, 0.98, 0.16),
    ),
}

CRAFT: dict[str, Part] = {
    # fuselage and tailplane
    "heavier-than-air craft": (
        *flipped_over(polygon(SHADE, 0.62, 0.0, 0.84, -0.36, 0.98, -0.36, 0.9, 0.0)),
        *ellipse(BODY, 0.0, 0.0, 0.9, 0.15),
    ),
    "airliner wings": (
        *flipped_over(polygon(BODY, -0.24, -0.08, 0.26, -0.98, 0.44, -0.98, 0.2, -0.08)),
        *flipped_over(ellipse(SHADE, -0.06, -0.36, 0.14, 0.07)),
        *flipped_over(ellipse(SHADE, 0.1, -0.66, 0.13, 0.06)),
    ),
    "airliner": (
        *dots(LIGHT, 0.045, -0.5, 0.0, -0.34, 0.0, -0.18, 0.0, -0.02, 0.0, 0.14, 0.0, 0.3, 0.0),
        *dots(LIGHT, 0.045, 0.46, 0.0),
        *polygon(DARK, -0.84, 0.0, -0.72, -0.08, -0.66, 0.0, -0.72, 0.08),
    ),
    "warplane wings": (
        *flipped_over(polygon(BODY, -0.4, -0.08, 0.46, -0.72, 0.66, -0.72, 0.6, -0.08)),
        *flipped_over(line(ACCENT, 0.1, -0.02, -0.44, 0.5, -0.44)),
        *flipped_over(line(ACCENT, 0.1, 0.16, -0.62, 0.62, -0.62)),
    ),
    "warplane": (
        *polygon(DARK, -1.0, 0.0, -0.72, -0.1, -0.72, 0.1),
        *ellipse(LIGHT, -0.42, 0.0, 0.2, 0.08),
        *box(DARK, 0.8, -0.12, 0.98, 0.12),
    ),
    "airship": (
        *ellipse(BODY, -0.06, -0.12, 0.9, 0.4),
        *polygon(SHADE, 0.5, -0.12, 0.82, -0.64, 0.98, -0.64, 0.94, 0.4, 0.82, 0.4),
        *box(DARK, -0.34, 0.24, 0.16, 0.44),
        *box(LIGHT, -0.26, 0.28, 0.08, 0.35),
        *line(SHADE, 0.06, -0.9, -0.12, 0.6, -0.12),
        *line(SHADE, 0.05, -0.8, 0.06, -0.3, 0.16, 0.5, 0.08),
    ),
    "balloon": (
        *line(DARK, 0.05, -0.42, 0.1, -0.16, 0.66),
        *line(DARK, 0.05, 0.42, 0.1, 0.16, 0.66),
        *ellipse(BODY, 0.0, -0.32, 0.6, 0.62),
        *polygon(BODY, -0.5, 0.0, 0.5, 0.0, 0.16, 0.44, -0.16, 0.44),
        *ellipse(ACCENT, 0.0, -0.32, 0.2, 0.62),
        *mirrored(polygon(SHADE, 0.36, -0.8, 0.54, -0.62, 0.56, -0.06, 0.36, 0.14)),
        *box(DARK, -0.2, 0.64, 0.2, 0.94),
    ),
}

VESSELS: dict[str, Part] = {
    # hull
    "vessel": (
        *polygon(BODY, -0.84, 0.36, 0.84, 0.36, 0.62, 0.78, -0.62, 0.78),
        *line(SHADE, 0.08, -0.72, 0.64, 0.72, 0.64),
    ),
    # mast and mainsail
    "sailing vessel": (
        *line(DARK, 0.07, 0.0, 0.4, 0.0, -0.98),
        *polygon(LIGHT, 0.05, -0.92, 0.05, 0.24, 0.66, 0.24),
    ),
    "schooner": (
        *line(DARK, 0.07, -0.5, 0.4, -0.5, -0.8),
        *polygon(ACCENT, -0.45, -0.74, -0.06, -0.5, -0.06, 0.24, -0.45, 0.24),
        *polygon(ACCENT, -0.55, -0.74, -0.55, 0.24, -0.98, 0.3),
        *line(DARK, 0.07, -0.8, 0.38, -1.0, 0.28),
    ),
    "catamaran": (
        *polygon(SHADE, -0.98, 0.72, 0.98, 0.72, 0.78, 0.98, -0.78, 0.98),
        *polygon(ACCENT, -0.05, -0.8, -0.05, 0.24, -0.42, 0.24),
        *line(DARK, 0.07, -0.4, 0.36, -0.46, 0.8),
        *line(DARK, 0.07, 0.4, 0.36, 0.46, 0.8),
    ),
    "canoe": (
        *polygon(BODY, -0.8, 0.36, -1.0, 0.0, -0.72, 0.2, -0.5, 0.36),
        *polygon(BODY, 0.8, 0.36, 1.0, 0.0, 0.72, 0.2, 0.5, 0.36),
        *line(ACCENT, 0.08, -0.3, -0.5, 0.36, 0.7),
        *ellipse(ACCENT, 0.4, 0.8, 0.13, 0.18),
        *line(LIGHT, 0.06, -0.8, 0.38, 0.8, 0.38),
        *line(DARK, 0.08, -0.4, 0.4, -0.4, 0.6),
    ),
    "speedboat": (
        *polygon(BODY, -1.0, 0.14, -0.3, 0.26, 0.84, 0.3, 0.84, 0.5, -0.6, 0.6),
        *polygon(LIGHT, -0.4, 0.28, -0.02, -0.12, 0.14, -0.12, 0.02, 0.3),
        *box(SHADE, 0.16, 0.06, 0.32, 0.34),
        *box(SHADE, 0.46, 0.06, 0.62, 0.34),
        *box(DARK, 0.8, 0.16, 0.98, 0.8),
        *line(ACCENT, 0.1, -0.84, 0.4, 0.78, 0.44),
    ),
}

FURNITURE_AND_CONTAINERS: dict[str, Part] = {
    # seat and back
    "chair": (
        *box(BODY, -0.42, 0.0, 0.48, 0.17),
        *box(BODY, -0.5, -0.82, -0.28, 0.17),
    ),
    "rocking chair": (
        *line(BODY, 0.1, -0.38, 0.1, -0.4, 0.76),
        *line(BODY, 0.1, 0.38, 0.1, 0.4, 0.76),
        *line(DARK, 0.11, -0.85, 0.6, -0.5, 0.8, 0.0, 0.87, 0.5, 0.8, 0.85, 0.6),
        *line(SHADE, 0.1, -0.3, -0.3, 0.42, -0.3, 0.42, 0.05),
        *line(SHADE, 0.08, -0.4, -0.75, -0.4, -0.1),
    ),
    "folding chair": (
        *line(DARK, 0.1, -0.44, 0.1, 0.5, 0.92),
        *line(DARK, 0.1, 0.42, 0.1, -0.5, 0.92),
        *line(DARK, 0.08, -0.46, 0.92, 0.46, 0.92),
        *box(LIGHT, -0.5, -0.7, -0.28, -0.56),
        *box(LIGHT, -0.5, -0.42, -0.28, -0.28),
        *box(LIGHT, -0.3, 0.0, -0.12, 0.17),
        *box(LIGHT, 0.16, 0.0, 0.34, 0.17),
    ),
    "throne": (
        *box(BODY, -0.52, 0.1, 0.5, 0.86),
        *box(ACCENT, -0.26, 0.17, 0.36, 0.7),
        *polygon(
            BODY,
            -0.62,
            -0.98,
            -0.52,
            -0.8,
            -0.34,
            -1.0,
            -0.16,
            -0.8,
            -0.06,
            -0.98,
            -0.1,
            0.1,
            -0.58,
            0.1,
        ),
        *box(ACCENT, -0.28, -0.68, -0.14, 0.0),
        *dots(LIGHT, 0.08, -0.6, -0.94, -0.34, -0.96, -0.08, -0.94),
        *line(SHADE, 0.14, -0.1, -0.3, 0.46, -0.3, 0.46, 0.1),
    ),
    "barber chair": (
        *box(SHADE, -0.36, -0.06, 0.46, 0.24),
        *line(DARK, 0.2, 0.02, 0.2, 0.02, 0.8),
        *ellipse(DARK, 0.02, 0.88, 0.5, 0.11),
        *polygon(SHADE, 0.46, 0.06, 0.62, 0.06, 0.86, 0.62, 0.7, 0.66),
        *line(DARK, 0.1, 0.62, 0.64, 0.98, 0.6),
        *ellipse(ACCENT, -0.4, -0.88, 0.2, 0.12),
        *line(LIGHT, 0.12, -0.28, -0.28, 0.32, -0.28),
    ),
    # body, shoulders and neck
    "bottle": (
        *box(BODY, -0.3, -0.15, 0.3, 0.9),
        *polygon(BODY, -0.3, -0.13, -0.11, -0.5, 0.11, -0.5, 0.3, -0.13),
        *box(BODY, -0.11, -0.9, 0.11, -0.45),
    ),
    "wine bottle": (
        *box(LIGHT, -0.3, 0.12, 0.3, 0.64),
        *line(DARK, 0.06, -0.18, 0.28, 0.18, 0.28),
        *line(DARK, 0.06, -0.18, 0.44, 0.18, 0.44),
        *box(DARK, -0.13, -0.98, 0.13, -0.58),
    ),
    "beer bottle": (
        *ellipse(LIGHT, 0.0, 0.38, 0.26, 0.3),
        *ellipse(ACCENT, 0.0, 0.38, 0.16, 0.19),
        *box(LIGHT, -0.12, -0.66, 0.12, -0.44),
        *polygon(ACCENT, -0.18, -0.84, -0.14, -0.98, 0.14, -0.98, 0.18, -0.84),
    ),
    "pop bottle": (
        *polygon(
            BODY,
            -0.3,
            -0.1,
            -0.42,
            0.1,
            -0.3,
            0.34,
            -0.42,
            0.7,
            -0.36,
            0.95,
            0.36,
            0.95,
            0.42,
            0.7,
            0.3,
            0.34,
            0.42,
            0.1,
            0.3,
            -0.1,
        ),
        *polygon(ACCENT, -0.37, 0.18, 0.37, 0.04, 0.36, 0.4, -0.34, 0.5),
        *line(LIGHT, 0.06, -0.3, 0.36, -0.05, 0.22, 0.3, 0.22),
        *box(DARK, -0.15, -1.0, 0.15, -0.84),
    ),
    "water bottle": (
        *box(SHADE, -0.3, 0.0, 0.3, 0.07),
        *box(SHADE, -0.3, 0.18, 0.3, 0.25),
        *box(SHADE, -0.3, 0.54, 0.3, 0.61),
        *box(SHADE, -0.3, 0.72, 0.3, 0.79),
        *box(ACCENT, -0.26, -0.58, 0.26, -0.38),
        *box(LIGHT, -0.08, -0.98, 0.08, -0.58),
    ),
}

ARTIFACT_PARTS: dict[str, Part] = (
    WOODWINDS | STRINGED_INSTRUMENTS | MOTOR_VEHICLES | CRAFT | VESSELS | FURNITURE_AND_CONTAINERS
)
