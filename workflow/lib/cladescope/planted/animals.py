"""How the planted animals are drawn: one entry per part, named after the classes that have it.

A part belongs either to one leaf or to one taxonomy node; in the second case exactly the node's
leaves draw it. Eyes, ears, legs and fins differ between families on purpose: what a family shares
must not be shared with its relatives, or an ancestor that is declared undrawn would be drawn.
"""

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

AQUATIC_MAMMALS: dict[str, Part] = {
    # spindle body and fluke
    "aquatic mammal": (
        *ellipse(BODY, -0.1, 0.05, 0.68, 0.3),
        *polygon(
            BODY,
            *(0.35, -0.17, 0.7, -0.04, 0.93, -0.36, 0.99, -0.2, 0.87, 0.06),
            *(0.99, 0.32, 0.93, 0.46, 0.7, 0.17, 0.35, 0.25),
        ),
    ),
    # spout
    "whale": (
        *line(ACCENT, 0.09, -0.42, -0.2, -0.42, -0.55, -0.66, -0.72),
        *line(ACCENT, 0.09, -0.42, -0.55, -0.18, -0.72),
    ),
    "killer whale": (
        *polygon(BODY, -0.02, -0.18, 0.2, -0.88, 0.3, -0.12),
        *polygon(SHADE, -0.28, 0.2, 0.0, 0.22, -0.2, 0.72),
        *ellipse(LIGHT, -0.52, -0.06, 0.16, 0.08),
        *ellipse(LIGHT, -0.3, 0.24, 0.42, 0.1),
        *ellipse(LIGHT, 0.3, 0.02, 0.15, 0.07),
    ),
    "grey whale": (
        *polygon(BODY, -0.99, 0.12, -0.85, -0.14, -0.4, -0.27, -0.3, 0.34, -0.85, 0.3),
        *line(LIGHT, 0.05, -0.97, 0.12, -0.75, 0.02, -0.5, 0.14),
        *dots(BODY, 0.07, 0.16, -0.22, 0.3, -0.19, 0.44, -0.15),
        *line(SHADE, 0.05, -0.75, 0.2, -0.3, 0.24),
        *dots(
            LIGHT, 0.06, -0.25, -0.1, -0.08, 0.05, 0.1, -0.1, 0.25, 0.05, 0.4, -0.02, -0.05, -0.16
        ),
        *polygon(SHADE, -0.3, 0.24, -0.1, 0.26, -0.12, 0.52, -0.28, 0.5),
    ),
    "dugong": (
        *ellipse(BODY, -0.78, 0.2, 0.19, 0.3),
        *ellipse(LIGHT, -0.84, 0.42, 0.15, 0.11),
        *dots(DARK, 0.03, -0.9, 0.4, -0.8, 0.44),
        *dots(DARK, 0.05, -0.7, 0.02),
        *ellipse(SHADE, -0.3, 0.42, 0.13, 0.25),
        *line(SHADE, 0.05, -0.5, -0.18, -0.44, 0.25),
        *line(SHADE, 0.05, -0.02, -0.22, 0.04, 0.3),
        *line(SHADE, 0.05, 0.2, -0.18, 0.26, 0.26),
    ),
    "sea lion": (
        *polygon(BODY, -0.8, 0.1, -0.78, -0.6, -0.46, -0.62, -0.2, -0.18, -0.2, 0.3),
        *ellipse(BODY, -0.66, -0.64, 0.25, 0.2),
        *ellipse(BODY, -0.86, -0.6, 0.14, 0.11),
        *dots(DARK, 0.06, -0.98, -0.64),
        *dots(DARK, 0.05, -0.7, -0.7),
        *line(LIGHT, 0.035, -0.86, -0.56, -0.62, -0.5),
        *line(LIGHT, 0.035, -0.86, -0.54, -0.7, -0.4),
        *polygon(SHADE, -0.5, 0.2, -0.22, 0.22, -0.1, 0.86, -0.5, 0.86, -0.36, 0.6),
        *polygon(SHADE, 0.5, 0.1, 0.72, 0.08, 0.8, 0.7, 0.52, 0.7),
    ),
}

DOGS: dict[str, Part] = {
    # standing body, head with nose
    "dog": (
        *ellipse(BODY, 0.08, 0.1, 0.52, 0.25),
        *box(BODY, -0.4, 0.15, -0.25, 0.85),
        *box(BODY, -0.2, 0.15, -0.06, 0.85),
        *box(BODY, 0.24, 0.15, 0.38, 0.85),
        *box(BODY, 0.44, 0.1, 0.58, 0.85),
        *polygon(BODY, -0.6, -0.3, -0.3, -0.4, 0.0, -0.05, -0.35, 0.25),
        *ellipse(BODY, -0.52, -0.28, 0.27, 0.25),
        *ellipse(BODY, -0.78, -0.16, 0.2, 0.14),
        *ellipse(DARK, -0.94, -0.22, 0.07),
        *ellipse(DARK, -0.62, -0.34, 0.05),
    ),
    "golden retriever": (
        *ellipse(SHADE, -0.4, -0.2, 0.13, 0.25),
        *polygon(BODY, 0.5, -0.06, 0.8, -0.5, 0.98, -0.45, 0.99, -0.1, 0.8, 0.12, 0.55, 0.15),
        *polygon(
            LIGHT,
            *(-0.35, 0.2, 0.46, 0.2, 0.38, 0.48, 0.28, 0.3, 0.18, 0.5),
            *(0.08, 0.3, -0.02, 0.5, -0.12, 0.3, -0.24, 0.5),
        ),
    ),
    "German shepherd": (
        *polygon(DARK, -0.25, -0.16, 0.3, -0.18, 0.6, 0.0, 0.5, 0.2, -0.05, 0.2),
        *polygon(BODY, -0.66, -0.4, -0.6, -0.92, -0.42, -0.42),
        *polygon(SHADE, -0.5, -0.42, -0.38, -0.9, -0.28, -0.34),
        *polygon(BODY, 0.5, 0.0, 0.66, 0.02, 0.92, 0.6, 0.72, 0.6),
    ),
    "pug": (
        *ellipse(BODY, 0.06, 0.12, 0.52, 0.34),
        *ellipse(DARK, -0.74, -0.15, 0.25, 0.22),
        *ellipse(LIGHT, -0.6, -0.36, 0.08),
        *ellipse(DARK, -0.61, -0.36, 0.05),
        *polygon(DARK, -0.45, -0.5, -0.25, -0.5, -0.27, -0.2),
        *line(BODY, 0.13, 0.5, 0.0, 0.72, -0.05, 0.86, -0.25, 0.7, -0.42, 0.56, -0.28),
    ),
    "beagle": (
        *ellipse(LIGHT, -0.79, -0.14, 0.18, 0.12),
        *ellipse(DARK, -0.94, -0.2, 0.07),
        *ellipse(DARK, -0.36, -0.06, 0.14, 0.34),
        *ellipse(DARK, 0.22, -0.02, 0.3, 0.14),
        *box(LIGHT, -0.41, 0.58, -0.05, 0.85),
        *box(LIGHT, 0.23, 0.58, 0.59, 0.85),
        *line(BODY, 0.12, 0.54, 0.0, 0.72, -0.3, 0.74, -0.6),
        *ellipse(LIGHT, 0.74, -0.62, 0.1, 0.14),
    ),
}

FELINES: dict[str, Part] = {
    # sitting body, face with slit eyes
    "feline": (
        *line(BODY, 0.14, 0.4, 0.82, 0.78, 0.78, 0.92, 0.45, 0.78, 0.15),
        *ellipse(BODY, 0.02, 0.5, 0.46, 0.46),
        *ellipse(SHADE, -0.17, 0.92, 0.15, 0.08),
        *ellipse(SHADE, 0.2, 0.92, 0.15, 0.08),
        *ellipse(BODY, 0.0, -0.22, 0.46, 0.38),
        *mirrored(ellipse(LIGHT, 0.19, -0.28, 0.13, 0.1)),
        *mirrored(ellipse(DARK, 0.19, -0.28, 0.045, 0.095)),
        *polygon(DARK, -0.08, -0.14, 0.08, -0.14, 0.0, -0.03),
    ),
    # round ears and pale muzzle
    "big cat": (
        *mirrored(ellipse(BODY, 0.36, -0.54, 0.17)),
        *mirrored(ellipse(SHADE, 0.36, -0.54, 0.09)),
        *ellipse(LIGHT, 0.0, -0.02, 0.22, 0.13),
        *polygon(DARK, -0.1, -0.14, 0.1, -0.14, 0.0, 0.0),
    ),
    "Siamese cat": (
        *mirrored(polygon(DARK, 0.1, -0.52, 0.48, -0.98, 0.46, -0.28)),
        *ellipse(DARK, 0.0, -0.06, 0.26, 0.2),
        *mirrored(ellipse(ACCENT, 0.19, -0.28, 0.12, 0.09)),
        *ellipse(DARK, -0.17, 0.9, 0.16, 0.1),
        *ellipse(DARK, 0.2, 0.9, 0.16, 0.1),
        *line(DARK, 0.15, 0.91, 0.5, 0.92, 0.42, 0.78, 0.1),
    ),
    "lion mane": (
        *ellipse(SHADE, 0.0, -0.2, 0.74, 0.66),
        *dots(SHADE, 0.17, -0.6, -0.55, -0.3, -0.8, 0.0, -0.82, 0.3, -0.8, 0.6, -0.55),
        *dots(SHADE, 0.17, -0.72, -0.15, 0.72, -0.15, -0.6, 0.2, 0.6, 0.2),
    ),
    "lion": ellipse(DARK, 0.78, 0.12, 0.14, 0.17),
    "tiger": (
        *line(DARK, 0.07, 0.0, -0.6, 0.0, -0.4),
        *mirrored(line(DARK, 0.07, 0.14, -0.58, 0.11, -0.42)),
        *mirrored(line(DARK, 0.07, 0.46, -0.2, 0.3, -0.14)),
        *mirrored(line(DARK, 0.07, 0.44, -0.06, 0.28, -0.04)),
        *mirrored(line(DARK, 0.09, 0.42, 0.3, 0.12, 0.38)),
        *mirrored(line(DARK, 0.09, 0.47, 0.5, 0.14, 0.58)),
        *mirrored(line(DARK, 0.09, 0.42, 0.7, 0.14, 0.76)),
    ),
    "leopard": (
        *dots(DARK, 0.06, -0.18, -0.48, 0.0, -0.53, 0.18, -0.48, -0.36, -0.1, 0.36, -0.1),
        *dots(DARK, 0.075, -0.22, 0.28, 0.02, 0.26, 0.26, 0.3, -0.32, 0.48, -0.1, 0.46),
        *dots(DARK, 0.075, 0.14, 0.48, 0.36, 0.5, -0.22, 0.68, 0.02, 0.68, 0.26, 0.7),
    ),
}

PARROTS: dict[str, Part] = {
    # perched body and hooked bill
    "parrot": (
        *ellipse(BODY, 0.0, -0.02, 0.36, 0.52),
        *polygon(BODY, -0.12, 0.3, 0.18, 0.3, 0.34, 0.98, 0.1, 0.98),
        *ellipse(BODY, -0.1, -0.55, 0.29, 0.27),
        *polygon(DARK, -0.3, -0.68, -0.62, -0.5, -0.5, -0.26, -0.4, -0.42, -0.28, -0.4),
        *line(DARK, 0.1, -0.65, 0.5, 0.62, 0.5),
        *ellipse(LIGHT, -0.16, -0.6, 0.09),
        *ellipse(DARK, -0.16, -0.6, 0.05),
    ),
    "macaw": (
        *polygon(ACCENT, -0.02, -0.25, 0.36, -0.1, 0.28, 0.5, 0.05, 0.42),
        *polygon(LIGHT, -0.34, -0.7, -0.04, -0.72, -0.04, -0.46, -0.3, -0.4),
        *ellipse(DARK, -0.15, -0.6, 0.06),
        *polygon(ACCENT, 0.02, 0.55, 0.14, 0.55, 0.3, 1.0, 0.18, 1.0),
    ),
    "lorikeet": (
        *polygon(ACCENT, -0.34, -0.22, 0.3, -0.3, 0.36, -0.04, -0.37, 0.04),
        *polygon(DARK, -0.36, 0.04, 0.36, -0.04, 0.36, 0.08, -0.37, 0.14),
        *polygon(LIGHT, -0.34, 0.14, 0.34, 0.08, 0.24, 0.42, -0.22, 0.42),
    ),
    "sulphur-crested cockatoo": (
        *polygon(ACCENT, -0.24, -0.76, -0.3, -1.0, 0.0, -0.82, 0.14, -1.0, 0.2, -0.78, 0.46, -0.8),
        *polygon(ACCENT, -0.24, -0.74, 0.46, -0.8, 0.2, -0.52),
        *ellipse(LIGHT, 0.02, 0.05, 0.24, 0.36),
    ),
    "African grey": (
        *polygon(ACCENT, -0.06, 0.54, 0.24, 0.54, 0.36, 1.0, 0.08, 1.0),
        *ellipse(LIGHT, -0.16, -0.58, 0.2, 0.19),
        *ellipse(DARK, -0.16, -0.6, 0.07),
        *line(SHADE, 0.05, -0.25, -0.1, -0.05, 0.0, 0.2, -0.12),
        *line(SHADE, 0.05, -0.27, 0.08, -0.05, 0.18, 0.25, 0.06),
        *line(SHADE, 0.05, -0.22, 0.26, -0.02, 0.34, 0.22, 0.24),
    ),
}

BIRDS_OF_PREY: dict[str, Part] = {
    # spread wings and tail
    "bird of prey": (
        *mirrored(polygon(BODY, 0.08, -0.14, 0.55, -0.52, 0.99, -0.32, 0.78, 0.06, 0.08, 0.26)),
        *ellipse(BODY, 0.0, 0.05, 0.19, 0.42),
        *ellipse(BODY, 0.0, -0.42, 0.17),
        *polygon(BODY, -0.08, 0.3, 0.08, 0.3, 0.22, 0.78, -0.22, 0.78),
    ),
    "bald eagle": (
        *ellipse(LIGHT, 0.0, -0.44, 0.2),
        *polygon(ACCENT, -0.08, -0.5, 0.08, -0.5, 0.0, -0.26),
        *polygon(LIGHT, -0.13, 0.42, 0.13, 0.42, 0.24, 0.8, -0.24, 0.8),
    ),
    "kite": (
        *mirrored(polygon(BODY, 0.02, 0.4, 0.1, 0.4, 0.46, 0.99, 0.1, 0.8)),
        *mirrored(polygon(DARK, 0.6, -0.42, 0.99, -0.32, 0.84, -0.06)),
        *mirrored(ellipse(LIGHT, 0.5, -0.18, 0.13, 0.1)),
    ),
    "vulture": (
        *mirrored(polygon(DARK, 0.2, 0.2, 0.3, -0.02, 0.9, -0.12, 0.78, 0.1)),
        *mirrored(line(DARK, 0.06, 0.86, -0.3, 1.0, -0.55)),
        *mirrored(line(DARK, 0.06, 0.72, -0.4, 0.82, -0.68)),
        *mirrored(line(DARK, 0.06, 0.58, -0.46, 0.62, -0.76)),
        *ellipse(LIGHT, 0.0, -0.3, 0.24, 0.1),
        *ellipse(ACCENT, 0.0, -0.5, 0.12, 0.17),
    ),
    "great grey owl": (
        *ellipse(BODY, 0.0, -0.42, 0.36, 0.32),
        *mirrored(ellipse(LIGHT, 0.16, -0.44, 0.17)),
        *mirrored(ellipse(DARK, 0.15, -0.44, 0.07)),
        *polygon(ACCENT, -0.06, -0.38, 0.06, -0.38, 0.0, -0.22),
        *line(SHADE, 0.06, 0.0, -0.05, 0.0, 0.4),
        *mirrored(line(SHADE, 0.06, 0.11, -0.05, 0.11, 0.32)),
        *mirrored(line(SHADE, 0.07, 0.4, -0.3, 0.34, 0.1)),
        *mirrored(line(SHADE, 0.07, 0.68, -0.36, 0.6, 0.04)),
    ),
}

ELASMOBRANCHES: dict[str, Part] = {
    # torpedo body with dorsal fin and gills
    "shark": (
        *polygon(
            BODY, -0.95, 0.04, -0.5, -0.22, 0.2, -0.22, 0.7, -0.04, 0.7, 0.08, 0.2, 0.24, -0.5, 0.22
        ),
        *polygon(BODY, 0.6, 0.0, 0.96, -0.55, 0.86, 0.0, 0.97, 0.34),
        *polygon(BODY, -0.14, -0.18, 0.12, -0.68, 0.24, -0.18),
        *polygon(SHADE, -0.25, 0.12, 0.02, 0.12, 0.14, 0.58),
        *line(DARK, 0.04, -0.48, -0.12, -0.5, 0.12),
        *line(DARK, 0.04, -0.39, -0.12, -0.41, 0.12),
        *line(DARK, 0.04, -0.3, -0.12, -0.32, 0.12),
    ),
    "great white shark": (
        *polygon(LIGHT, -0.9, 0.06, 0.55, 0.07, 0.2, 0.23, -0.5, 0.21),
        *polygon(DARK, -0.86, 0.05, -0.58, 0.03, -0.66, 0.15),
        *dots(LIGHT, 0.03, -0.78, 0.05, -0.7, 0.04),
        *dots(DARK, 0.05, -0.68, -0.08),
    ),
    "tiger shark": (
        *line(DARK, 0.07, -0.16, -0.24, -0.12, 0.06),
        *line(DARK, 0.07, 0.0, -0.42, 0.04, 0.06),
        *line(DARK, 0.07, 0.16, -0.42, 0.2, 0.06),
        *line(DARK, 0.07, 0.32, -0.18, 0.36, 0.06),
        *line(DARK, 0.07, 0.5, -0.12, 0.53, 0.06),
        *line(DARK, 0.07, 0.74, -0.2, 0.8, -0.02),
    ),
    "hammerhead": (
        *polygon(BODY, -0.99, -0.52, -0.78, -0.56, -0.62, 0.0, -0.68, 0.56, -0.9, 0.54, -0.85, 0.0),
        *dots(LIGHT, 0.07, -0.88, -0.46, -0.8, 0.46),
        *dots(DARK, 0.04, -0.88, -0.46, -0.8, 0.46),
    ),
    # disc and whip tail
    "ray": (
        *polygon(BODY, -0.64, 0.0, 0.0, -0.62, 0.48, 0.0, 0.0, 0.62),
        *line(BODY, 0.1, 0.4, 0.0, 0.99, 0.0),
        *flipped_over(ellipse(LIGHT, -0.4, -0.1, 0.06)),
    ),
    "electric ray disc": ellipse(BODY, -0.12, 0.0, 0.62, 0.66),
    "electric ray": (
        *polygon(BODY, 0.7, 0.0, 0.92, -0.2, 0.99, 0.0, 0.92, 0.2),
        *polygon(ACCENT, 0.1, -0.42, -0.2, 0.06, 0.0, 0.04, -0.12, 0.44, 0.24, -0.1, 0.04, -0.08),
        *flipped_over(dots(DARK, 0.09, 0.22, -0.36)),
    ),
    "stingray wings": (
        *polygon(BODY, -0.7, 0.0, -0.3, -0.3, 0.12, -0.95, 0.3, -0.4, 0.5, 0.0),
        *polygon(BODY, -0.7, 0.0, -0.3, 0.3, 0.12, 0.95, 0.3, 0.4, 0.5, 0.0),
    ),
    "stingray": (
        *line(DARK, 0.06, -0.25, 0.0, 0.5, 0.0),
        *polygon(ACCENT, 0.6, -0.05, 0.86, -0.3, 0.76, 0.0),
        *flipped_over(line(SHADE, 0.07, 0.06, -0.7, 0.2, -0.3, 0.36, -0.12)),
    ),
}

INSECTS: dict[str, Part] = {
    # four wings and antennae
    "butterfly": (
        *mirrored(ellipse(BODY, 0.47, -0.32, 0.44, 0.38)),
        *mirrored(ellipse(BODY, 0.36, 0.4, 0.32, 0.36)),
        *ellipse(DARK, 0.0, 0.05, 0.08, 0.55),
        *mirrored(line(DARK, 0.05, 0.0, -0.4, 0.22, -0.92)),
    ),
    "monarch": (
        *mirrored(line(DARK, 0.06, 0.05, -0.05, 0.5, -0.66)),
        *mirrored(line(DARK, 0.06, 0.05, -0.02, 0.86, -0.36)),
        *mirrored(line(DARK, 0.06, 0.05, 0.02, 0.74, -0.08)),
        *mirrored(line(DARK, 0.06, 0.05, 0.15, 0.6, 0.5)),
        *mirrored(line(DARK, 0.06, 0.05, 0.2, 0.36, 0.72)),
        *mirrored(dots(LIGHT, 0.05, 0.76, -0.56, 0.86, -0.24, 0.6, 0.62)),
    ),
    "cabbage butterfly": (
        *mirrored(ellipse(LIGHT, 0.48, -0.3, 0.36, 0.3)),
        *mirrored(ellipse(LIGHT, 0.36, 0.4, 0.25, 0.28)),
        *mirrored(ellipse(DARK, 0.5, -0.26, 0.11)),
        *mirrored(polygon(DARK, 0.6, -0.62, 0.9, -0.42, 0.82, -0.6)),
    ),
    "lycaenid rim": (
        *mirrored(ellipse(DARK, 0.47, -0.32, 0.53, 0.47)),
        *mirrored(ellipse(DARK, 0.36, 0.4, 0.42, 0.45)),
        *mirrored(line(DARK, 0.07, 0.4, 0.7, 0.52, 0.99)),
    ),
    "lycaenid": (
        *mirrored(ellipse(ACCENT, 0.42, -0.28, 0.24, 0.2)),
        *mirrored(ellipse(ACCENT, 0.32, 0.34, 0.17, 0.2)),
    ),
    "admiral": (
        *mirrored(ellipse(DARK, 0.47, -0.32, 0.42, 0.36)),
        *mirrored(line(ACCENT, 0.15, 0.22, -0.64, 0.48, -0.3, 0.72, -0.14)),
        *mirrored(dots(LIGHT, 0.06, 0.62, -0.56, 0.76, -0.42)),
        *mirrored(line(ACCENT, 0.13, 0.26, 0.68, 0.6, 0.5)),
    ),
    # wing cases and six legs
    "beetle": (
        *mirrored(line(DARK, 0.09, 0.2, -0.1, 0.58, -0.25, 0.72, -0.5)),
        *mirrored(line(DARK, 0.09, 0.2, 0.15, 0.78, 0.15)),
        *mirrored(line(DARK, 0.09, 0.2, 0.4, 0.58, 0.55, 0.72, 0.8)),
        *ellipse(BODY, 0.0, 0.2, 0.46, 0.55),
        *ellipse(SHADE, 0.0, -0.42, 0.3, 0.22),
    ),
    "ladybug": (
        *ellipse(BODY, 0.0, 0.18, 0.6, 0.58),
        *line(DARK, 0.06, 0.0, -0.35, 0.0, 0.75),
        *mirrored(dots(DARK, 0.12, 0.3, -0.05, 0.34, 0.35)),
        *mirrored(dots(DARK, 0.1, 0.17, 0.58)),
        *mirrored(dots(LIGHT, 0.07, 0.17, -0.44)),
    ),
    "rhinoceros beetle": (
        *polygon(DARK, -0.14, -0.5, -0.05, -0.8, -0.2, -1.0, 0.08, -0.92, 0.16, -0.5),
        *polygon(DARK, -0.3, -0.3, -0.5, -0.72, -0.14, -0.5),
        *polygon(DARK, 0.3, -0.3, 0.5, -0.72, 0.14, -0.5),
        *line(SHADE, 0.06, 0.0, -0.3, 0.0, 0.74),
    ),
    "leaf beetle": (
        *line(LIGHT, 0.08, 0.0, -0.26, 0.0, 0.72),
        *mirrored(line(LIGHT, 0.08, 0.16, -0.2, 0.18, 0.66)),
        *mirrored(line(LIGHT, 0.08, 0.32, -0.08, 0.34, 0.5)),
        *ellipse(ACCENT, 0.0, -0.44, 0.24, 0.17),
    ),
}

ANIMAL_PARTS: dict[str, Part] = (
    AQUATIC_MAMMALS | DOGS | FELINES | PARROTS | BIRDS_OF_PREY | ELASMOBRANCHES | INSECTS
)
