//! Numbers and times as people read them.

use std::time::Duration;

use gfs_types::DurationMs;
use gfs_types::time::WallTime;

const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// `1.5 GiB`: three digits are enough for a person.
pub(crate) fn size(bytes: u64) -> String {
    let mut unit = 0;
    let mut scaled = bytes;
    let mut rest = 0;
    while scaled >= 1024 && unit + 1 < UNITS.len() {
        rest = scaled % 1024;
        scaled /= 1024;
        unit += 1;
    }
    if unit == 0 || scaled >= 100 {
        return format!("{scaled} {}", UNITS[unit]);
    }
    format!("{scaled}.{} {}", rest * 10 / 1024, UNITS[unit])
}

/// RFC 3339, in UTC, to the millisecond.
pub(crate) fn time(time: WallTime) -> String {
    let ms = i64::try_from(time.ms).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(stamp) => format!("{stamp:.3}"),
        // A time no calendar has: say it as it is kept.
        Err(_) => format!("@{}ms", time.ms),
    }
}

/// `60s`, `250ms`; a bare number is seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let seconds = text.trim().parse::<u64>().ok().and_then(|s| s.checked_mul(1000));
    let ms = match seconds {
        Some(ms) => ms,
        None => text.parse::<DurationMs>().map_err(|error| error.to_string())?.0,
    };
    if ms == 0 {
        return Err("no time at all: nothing could be done in it".to_owned());
    }
    Ok(Duration::from_millis(ms))
}

/// A ratio of two counts, or of a count and a time; 0 where there is nothing to divide by.
#[expect(clippy::cast_precision_loss, reason = "a figure for people: 53 bits are plenty")]
pub(crate) fn ratio(count: u64, by: f64) -> f64 {
    if by > 0.0 { count as f64 / by } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit_and_few_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (100 << 20, "100 MiB"),
            (5 << 40, "5.0 TiB"),
            (u64::MAX, "16383 PiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(time(WallTime { ms: 0 }), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(WallTime { ms: 1_700_000_000_123 }), "2023-11-14T22:13:20.123Z");
        assert!(time(WallTime { ms: u64::MAX }).starts_with('@'));
    }

    #[test]
    fn durations_take_units_or_are_seconds() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("2"), Ok(Duration::from_secs(2)));
        assert_eq!(parse_duration("1m"), Ok(Duration::from_secs(60)));
        for text in ["", "0", "0s", "-1", "soon", "1.5s", "99999999999999999999"] {
            assert!(parse_duration(text).is_err(), "{text:?} was taken");
        }
    }
}
