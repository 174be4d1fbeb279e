//! Quantities of Kubernetes: `500m`, `2Gi`, `1e3`.

/// The value in thousandths, rounded up; `None` for what is no quantity, is negative or too large.
pub(super) fn thousandths(text: &str) -> Option<u128> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let (factor, divisor) = scale(suffix)?;
    let numerator = digits.checked_mul(factor)?.checked_mul(1000)?;
    let places = u32::try_from(fraction.len()).ok()?;
    Some(numerator.div_ceil(divisor.checked_mul(10_u128.checked_pow(places)?)?))
}

/// What a suffix multiplies by, and divides by.
fn scale(suffix: &str) -> Option<(u128, u128)> {
    let decimal = |exponent: i32| {
        let power = 10_u128.checked_pow(exponent.unsigned_abs())?;
        Some(if exponent < 0 { (1, power) } else { (power, 1) })
    };
    let binary = |power: u32| Some((1_u128 << (10 * power), 1));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => decimal(suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_does() {
        let cases = [
            ("0", 0),
            ("1", 1_000),
            ("500m", 500),
            ("0.5", 500),
            (".5", 500),
            ("2.", 2_000),
            ("1Gi", 1_000 << 30),
            ("1.5Ki", 1_536_000),
            ("1G", 1_000_000_000_000),
            ("1e3", 1_000_000),
            ("1E-3", 1),
            ("1E", 1_000_000_000_000_000_000_000),
            ("1n", 1),
        ];
        for (text, value) in cases {
            assert_eq!(thousandths(text), Some(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_none() {
        let huge = "9".repeat(40);
        for text in ["", ".", "Gi", "-1", "1 Gi", "1GiB", "1,5", "1.2.3", "1e", "1e99", "+1", &huge] {
            assert_eq!(thousandths(text), None, "{text}");
        }
    }
}
