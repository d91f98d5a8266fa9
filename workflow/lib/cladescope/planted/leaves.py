"""The 64 leaves of the planted world: real ImageNet-1k classes, each drawn from named parts.

Parts are painted in the order given, so what lies behind comes first. A part that several leaves
name belongs to the WordNet node above exactly those leaves (`resources/planted/nodes.csv`).
"""

from collections.abc import Collection
from typing import NamedTuple

from cladescope.planted.animals import ANIMAL_PARTS
from cladescope.planted.artifacts import ARTIFACT_PARTS
from cladescope.planted.drawing import Drawing, Part


class Leaf(NamedTuple):
    """A leaf class: its WordNet id, its name, and the names of the parts it is painted from."""

    wnid: str
    name: str
    parts: tuple[str, ...]


def _leaf(wnid: str, name: str, *parts: str) -> Leaf:
    return Leaf(wnid, name, parts)


PARTS: dict[str, Part] = ANIMAL_PARTS | ARTIFACT_PARTS

LEAVES: tuple[Leaf, ...] = (
    _leaf("n02071294", "killer whale", "aquatic mammal", "whale", "killer whale"),
    _leaf("n02066245", "grey whale", "aquatic mammal", "whale", "grey whale"),
    _leaf("n02074367", "dugong", "aquatic mammal", "dugong"),
    _leaf("n02077923", "sea lion", "aquatic mammal", "sea lion"),
    _leaf("n02099601", "golden retriever", "dog", "golden retriever"),
    _leaf("n02106662", "German shepherd", "dog", "German shepherd"),
    _leaf("n02110958", "pug", "dog", "pug"),
    _leaf("n02088364", "beagle", "dog", "beagle"),
    _leaf("n02123597", "Siamese cat", "feline", "Siamese cat"),
    _leaf("n02129165", "lion", "lion mane", "feline", "big cat", "lion"),
    _leaf("n02129604", "tiger", "feline", "big cat", "tiger"),
    _leaf("n02128385", "leopard", "feline", "big cat", "leopard"),
    _leaf("n01818515", "macaw", "parrot", "macaw"),
    _leaf("n01820546", "lorikeet", "parrot", "lorikeet"),
    _leaf("n01819313", "sulphur-crested cockatoo", "parrot", "sulphur-crested cockatoo"),
    _leaf("n01817953", "African grey", "parrot", "African grey"),
    _leaf("n01614925", "bald eagle", "bird of prey", "bald eagle"),
    _leaf("n01608432", "kite", "bird of prey", "kite"),
    _leaf("n01616318", "vulture", "bird of prey", "vulture"),
    _leaf("n01622779", "great grey owl", "bird of prey", "great grey owl"),
    _leaf("n01484850", "great white shark", "shark", "great white shark"),
    _leaf("n01491361", "tiger shark", "shark", "tiger shark"),
    _leaf("n01494475", "hammerhead", "shark", "hammerhead"),
    _leaf("n01496331", "electric ray", "electric ray disc", "ray", "electric ray"),
    _leaf("n01498041", "stingray", "stingray wings", "ray", "stingray"),
    _leaf("n02279972", "monarch", "butterfly", "monarch"),
    _leaf("n02280649", "cabbage butterfly", "butterfly", "cabbage butterfly"),
    _leaf("n02281787", "lycaenid", "lycaenid rim", "butterfly", "lycaenid"),
    _leaf("n02276258", "admiral", "butterfly", "admiral"),
    _leaf("n02165456", "ladybug", "beetle", "ladybug"),
    _leaf("n02174001", "rhinoceros beetle", "beetle", "rhinoceros beetle"),
    _leaf("n02169497", "leaf beetle", "beetle", "leaf beetle"),
    _leaf("n03372029", "flute", "woodwind", "flute"),
    _leaf(
        *("n03838899", "oboe"),
        *("woodwind", "beating-reed instrument", "double-reed instrument", "oboe"),
    ),
    _leaf(
        *("n02804610", "bassoon"),
        *("woodwind", "beating-reed instrument", "double-reed instrument", "bassoon"),
    ),
    _leaf("n04141076", "sax", "woodwind", "beating-reed instrument", "sax"),
    _leaf(
        *("n02992211", "cello"),
        *("cello body", "stringed instrument", "bowed stringed instrument", "cello"),
    ),
    _leaf(
        *("n04536866", "violin"),
        *("violin body", "stringed instrument", "bowed stringed instrument", "violin"),
    ),
    _leaf(
        *("n02676566", "acoustic guitar"),
        *("acoustic guitar body", "stringed instrument", "guitar", "acoustic guitar"),
    ),
    _leaf("n03272010", "electric guitar", "stringed instrument", "guitar", "electric guitar"),
    _leaf("n04285008", "sports car", "car", "sports car", "motor vehicle"),
    _leaf("n02930766", "cab", "car", "cab", "motor vehicle"),
    _leaf("n03594945", "jeep", "car", "jeep", "motor vehicle"),
    _leaf("n03670208", "limousine", "car", "limousine", "motor vehicle"),
    _leaf("n03345487", "fire engine", "truck", "fire engine", "motor vehicle"),
    _leaf("n03417042", "garbage truck", "truck", "garbage truck", "motor vehicle"),
    _leaf("n04461696", "tow truck", "truck", "tow truck", "motor vehicle"),
    _leaf("n03930630", "pickup", "truck", "pickup", "motor vehicle"),
    _leaf("n02690373", "airliner", "airliner wings", "heavier-than-air craft", "airliner"),
    _leaf("n04552348", "warplane", "warplane wings", "heavier-than-air craft", "warplane"),
    _leaf("n02692877", "airship", "airship"),
    _leaf("n02782093", "balloon", "balloon"),
    _leaf("n04147183", "schooner", "vessel", "sailing vessel", "schooner"),
    _leaf("n02981792", "catamaran", "vessel", "sailing vessel", "catamaran"),
    _leaf("n02951358", "canoe", "vessel", "canoe"),
    _leaf("n04273569", "speedboat", "vessel", "speedboat"),
    _leaf("n04099969", "rocking chair", "chair", "rocking chair"),
    _leaf("n03376595", "folding chair", "chair", "folding chair"),
    _leaf("n04429376", "throne", "chair", "throne"),
    _leaf("n02791124", "barber chair", "chair", "barber chair"),
    _leaf("n04591713", "wine bottle", "bottle", "wine bottle"),
    _leaf("n02823428", "beer bottle", "bottle", "beer bottle"),
    _leaf("n03983396", "pop bottle", "bottle", "pop bottle"),
    _leaf("n04557648", "water bottle", "bottle", "water bottle"),
)

LEAF_WNIDS: tuple[str, ...] = tuple(leaf.wnid for leaf in LEAVES)
LEAF_NAMES: tuple[str, ...] = tuple(leaf.name for leaf in LEAVES)

OWNERS: dict[str, frozenset[str]] = {
    part: frozenset(leaf.wnid for leaf in LEAVES if part in leaf.parts) for part in PARTS
}
"""The leaves that are painted from each part."""


def draw(leaf: Leaf, without: Collection[str] = ()) -> Drawing:
    """Return a leaf's drawing, some of its parts left out."""
    return Drawing(shape for part in leaf.parts if part not in without for shape in PARTS[part])


DRAWINGS: dict[str, Drawing] = {leaf.wnid: draw(leaf) for leaf in LEAVES}
