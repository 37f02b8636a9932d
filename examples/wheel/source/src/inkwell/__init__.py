"""Roman numerals, as a package that a wheel is made of."""

import sys

_VALUES = {"M": 1000, "CM": 900, "D": 500, "CD": 400, "C": 100, "XC": 90, "L": 50, "XL": 40, "X": 10, "IX": 9, "V": 5,
           "IV": 4, "I": 1}  # fmt: skip


GREATEST = 3999


def roman(number: int) -> str:
    """Return a number from 1 to 3999 in Roman numerals. Raises ValueError for others."""
    if not 1 <= number <= GREATEST:
        raise ValueError(f"{number} has no Roman numeral")
    written = ""
    for numeral, value in _VALUES.items():
        times, number = divmod(number, value)
        written += numeral * times
    return written


def main() -> None:
    """Print what was said in Roman numerals."""
    for word in sys.argv[1:]:
        print(roman(int(word)))
