"""What the demo shop sells, and to whom: every name here is invented, down to the telephone numbers."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from include.demo_shop.ids import dice, named_id

PAGE = "https://greenery.example"
COUNTRY = "United States"


@dataclass(frozen=True)
class Product:
    """A plant: its price when the shop opens, in cents, and how often it is looked at compared with the others."""

    product_id: str
    name: str
    price: int
    popularity: int


# name, price in cents, popularity
_PLANTS = (
    ("Absent-Minded Aloe", 1500, 8),
    ("Balcony Bamboo", 1525, 9),
    ("Brass Bird's Nest", 1550, 6),
    ("Candlelight Calathea", 4025, 9),
    ("Crooked Cactus", 1500, 7),
    ("Doorstep Dracaena", 5025, 8),
    ("Dozing Peperomia", 2050, 9),
    ("Evening Anthurium", 6095, 7),
    ("Featherweight Fern", 2000, 10),
    ("Fiddler's Fig", 8550, 7),
    ("Grandmother's Ivy", 1525, 8),
    ("Harbour Palm", 7000, 5),
    ("Inkblot Begonia", 9500, 7),
    ("Jacket-Pocket Jade", 1500, 6),
    ("Lighthouse Lily", 6050, 8),
    ("Lucky-Penny Tree", 3050, 7),
    ("Mapmaker's Monstera", 5075, 12),
    ("Midnight Alocasia", 9500, 6),
    ("Oatmeal Orchid", 5075, 11),
    ("Paper-Boat Philodendron", 4500, 9),
    ("Pebble-String", 8050, 12),
    ("Pony-Express Palm", 8075, 9),
    ("Postcard Pothos", 3050, 10),
    ("Quiet ZZ", 2500, 9),
    ("Rainy-Day Rubber Tree", 2050, 7),
    ("Seafarer's Strelitzia", 6500, 7),
    ("Sleepwalking Snake Plant", 2550, 10),
    ("Spindrift Spider Plant", 1500, 7),
    ("Understudy Ficus", 2025, 6),
    ("Weathervane Arrowhead", 3095, 8),
)

PRODUCTS = tuple(Product(named_id(f"product/{name}"), name, price, share) for name, price, share in _PLANTS)


@dataclass(frozen=True)
class Promo:
    """A promo code: dollars off, known from its first day on, active for some days of each cycle.

    A campaign is a promo that is advertised: while it is active, `draws` times as many orders come as otherwise.
    """

    promo_id: str
    discount: int
    first_day: int
    cycle: int
    active_days: int
    draws: float = 1

    def status(self, day: int) -> str:
        """ "active" or "inactive" on a day."""
        return "active" if (day - self.first_day) % self.cycle < self.active_days else "inactive"


PROMOS = (
    Promo("first-sprout", 2, 1, 14, 9),
    Promo("rainy-window", 10, 1, 9, 4),
    Promo("compost-club", 13, -3, 11, 4),
    Promo("second-leaf", 17, -1, 6, 3),
    Promo("potting-party", 11, 0, 10, 1),
    Promo("greenhouse-key", 20, -5, 8, 6),
    Promo("moss-monday", 5, 8, 7, 1),
    Promo("long-night", 15, 15, 30, 5, draws=1.25),
    Promo("window-sill", 8, 29, 20, 10),
    Promo("evergreen", 12, 61, 45, 45),
)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_FIRST_NAMES = _words(
    "Acorn Alder Amaryllis Aspen Aster Azalea Basil Begonia Birch Bluebell Bramble Briar Bryony Cedar Chervil "
    "Clementine Clover Coriander Cosmo Cypress Dahlia Daisy Dill Elder Elmer Fennel Fern Flora Forrest Garnet "
    "Ginger Hawthorn Hazel Heath Heather Holly Hyacinth Iris Ivy Jasmine Juniper Larch Laurel Lavender Lilac "
    "Linden Lupin Magnolia Maple Marigold Marjoram Mimosa Myrtle Nettle Oakley Olive Oleander Oregano Pansy "
    "Parsley Pepper Petunia Poppy Primrose Quince Reed Rosemary Rowan Rue Saffron Sage Senna Sorrel Tansy "
    "Tarragon Thistle Thyme Tulip Verbena Violet Willow Yarrow Zinnia"
)
_LAST_NAME_STARTS = _words(
    "Apple Ash Barley Beech Birch Bloom Branch Clover Cork Dew Elder Fern Field Frost Garden Grass Green Hedge "
    "Hollow Leaf Maple Meadow Moss Mulch Oak Pebble Petal Pine Puddle Rain Reed River Root Seed Stone Thistle "
    "Twig Under Wheat Willow"
)
_LAST_NAME_ENDS = _words(
    "bank berry bottom brook bush by croft dale fellow hill ley more patch shaw stead thorpe ton wood"
)
_STREETS = _words(
    "Arbor Bower Compost Gazebo Greenhouse Orchard Peat Pergola Rake Spade Terrace Trellis Trowel Watering-Can"
)
_STREET_KINDS = _words("Alley Avenue Court Drive Lane Path Row Street Walk Way")
# State and the beginning of its zip codes: some begin with 0, and have to keep it.
_STATES = (
    ("California", "92"),
    ("Texas", "77"),
    ("New York", "10"),
    ("Florida", "33"),
    ("Massachusetts", "02"),
    ("New Jersey", "07"),
    ("Connecticut", "06"),
    ("Vermont", "05"),
    ("Ohio", "44"),
    ("Illinois", "60"),
    ("Washington", "98"),
    ("Colorado", "80"),
    ("Virginia", "22"),
    ("Georgia", "30"),
    ("Arizona", "85"),
    ("Minnesota", "55"),
)


@dataclass(frozen=True)
class Person:
    """A made-up customer: `phone` is one of the numbers that are kept for fiction."""

    first_name: str
    last_name: str
    email: str
    phone: str


def person(name: str) -> Person:
    """The customer that belongs to a name."""
    roll = Random(name)  # noqa: S311 - no secret hangs on it
    first = roll.choice(_FIRST_NAMES)
    last = roll.choice(_LAST_NAME_STARTS) + roll.choice(_LAST_NAME_ENDS)
    email = f"{first}.{last}.{roll.randrange(16**8):08x}@example.com".lower()
    return Person(first, last, email, phone(name))


def phone(name: str) -> str:
    """The telephone number that belongs to a name."""
    roll = dice(f"phone/{name}")
    return f"{200 + roll % 800}-555-01{roll // 800 % 100:02d}"


def address(name: str) -> tuple[str, str, str]:
    """Street address, zip code and state that belong to a name."""
    roll = Random(f"address/{name}")  # noqa: S311 - no secret hangs on it
    state, zip_start = roll.choice(_STATES)
    street = f"{roll.randrange(1, 2000)} {roll.choice(_STREETS)} {roll.choice(_STREET_KINDS)}"
    return street, f"{zip_start}{roll.randrange(1000):03d}", state
