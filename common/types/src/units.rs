//! Durations and sizes with their units, as people write them in configuration files.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration in milliseconds; written `250ms`, `10s`, `5m`, `12h`, `3d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DurationMs(pub u64);

/// A size in bytes; written `512`, `64KiB`, `64MiB`, `1GiB`, `2TiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

/// A text that is no duration or no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}; write a whole number and a unit, one of {units}")]
pub struct UnitError {
    what: &'static str,
    text: String,
    units: &'static str,
}

const DURATION_UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZE_UNITS: &[(&str, u64)] =
    &[("B", 1), ("", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let factor = units.iter().find(|(name, _)| *name == unit.trim())?.1;
    number.checked_mul(factor)
}

/// The largest unit that divides `value` without a rest.
fn print(value: u64, units: &[(&'static str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let fits = |unit: &&(&str, u64)| value != 0 && value.is_multiple_of(unit.1);
    let &(name, factor) = units.iter().rev().find(fits).unwrap_or(&units[0]);
    write!(f, "{}{}", value / factor, name)
}

macro_rules! unit {
    ($name:ident, $units:ident, $what:literal, $names:literal) => {
        impl FromStr for $name {
            type Err = UnitError;
            fn from_str(text: &str) -> Result<Self, UnitError> {
                parse(text, $units).map($name).ok_or_else(|| UnitError {
                    what: $what,
                    text: text.to_owned(),
                    units: $names,
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                print(self.0, $units, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::text::deserialize(deserializer)
            }
        }
    };
}

unit!(DurationMs, DURATION_UNITS, "duration", "ms, s, m, h, d");
unit!(ByteSize, SIZE_UNITS, "size", "B, KiB, MiB, GiB, TiB");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_parses_back() {
        for ms in [0, 1, 999, 1_000, 90_000, 3_600_000, 259_200_000] {
            assert_eq!(DurationMs(ms).to_string().parse(), Ok(DurationMs(ms)));
        }
        for bytes in [0, 1, 1023, 65_536, 64 << 20, 3 << 40, u64::MAX] {
            assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
        }
        assert_eq!(ByteSize(64 << 20).to_string(), "64MiB");
        assert_eq!(DurationMs(10_000).to_string(), "10s");
    }

    #[test]
    fn a_duration_needs_its_unit_and_nothing_may_overflow() {
        for text in ["", "10", "ten s", "-1s", "1 fortnight", "18446744073709551615d"] {
            assert!(text.parse::<DurationMs>().is_err(), "{text:?} was taken");
        }
        for text in ["", "MiB", "1.5MiB", "64MB", "18446744073709551615KiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text:?} was taken");
        }
    }
}
