//! Figures of the rounds, and what they are held against.

use std::collections::BTreeMap;

use super::rows::Row;

/// What one round of one row gave, by the names that its targets use.
pub(crate) type Figures = BTreeMap<&'static str, f64>;

/// What a figure shall be.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// It is only told.
    None,
}

/// One line of the table.
pub(crate) struct Target {
    pub(crate) figure: &'static str,
    /// What it is, with its unit.
    pub(crate) what: &'static str,
    pub(crate) bound: Bound,
}

impl Target {
    pub(crate) const fn at_most(figure: &'static str, bound: f64, what: &'static str) -> Self {
        Self { figure, what, bound: Bound::AtMost(bound) }
    }

    pub(crate) const fn at_least(figure: &'static str, bound: f64, what: &'static str) -> Self {
        Self { figure, what, bound: Bound::AtLeast(bound) }
    }

    pub(crate) const fn told(figure: &'static str, what: &'static str) -> Self {
        Self { figure, what, bound: Bound::None }
    }
}

/// All rounds of all rows.
#[derive(Default)]
pub(crate) struct Measured {
    rounds: BTreeMap<&'static str, Vec<Figures>>,
}

/// The rounds of one figure.
#[derive(Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) rounds: usize,
}

impl Measured {
    pub(crate) fn add(&mut self, row: &'static str, figures: Figures) {
        self.rounds.entry(row).or_default().push(figures);
    }

    pub(crate) fn spread(&self, row: &str, figure: &str) -> Option<Spread> {
        let rounds = self.rounds.get(row)?;
        Spread::of(rounds.iter().filter_map(|figures| figures.get(figure).copied()).collect())
    }

    /// What the last round of a row gave, a line each.
    pub(crate) fn lines(&self, row: &Row) -> Vec<String> {
        let last = self.rounds.get(row.name).and_then(|rounds| rounds.last());
        let line = |target: &Target| {
            let value = *last?.get(target.figure)?;
            Some(format!("{}: {}", target.what, number(value)))
        };
        row.targets.iter().filter_map(line).collect()
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Some(Self { median, least, most, rounds: values.len() })
    }
}

impl Bound {
    /// Whether it is met; nothing where there is no bound.
    pub(crate) fn is_met_by(self, value: f64) -> Option<bool> {
        match self {
            Self::AtMost(bound) => Some(value <= bound),
            Self::AtLeast(bound) => Some(value >= bound),
            Self::None => None,
        }
    }

    pub(crate) fn text(self) -> String {
        match self {
            Self::AtMost(bound) => format!("≤ {}", number(bound)),
            Self::AtLeast(bound) => format!("≥ {}", number(bound)),
            Self::None => String::new(),
        }
    }
}

/// Three digits that count, and no more; large numbers whole.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 10_000.0 {
        return grouped(&format!("{value:.0}"));
    }
    if size >= 100.0 || value == value.trunc() {
        return format!("{value:.0}");
    }
    if size >= 10.0 { format!("{value:.1}") } else { format!("{value:.2}") }
}

/// 1234567 as 1,234,567.
fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_between_the_middle_two() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 2.0]).expect("there are values");
        assert_eq!(spread, Spread { median: 2.5, least: 1.0, most: 4.0, rounds: 4 });
        assert_eq!(Spread::of(vec![7.0]).map(|spread| spread.median), Some(7.0));
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn a_bound_holds_at_the_limit_and_not_past_it() {
        assert_eq!(Bound::AtMost(1.25).is_met_by(1.25), Some(true));
        assert_eq!(Bound::AtMost(1.25).is_met_by(1.26), Some(false));
        assert_eq!(Bound::AtLeast(0.75).is_met_by(0.75), Some(true));
        assert_eq!(Bound::AtLeast(0.75).is_met_by(0.74), Some(false));
        assert_eq!(Bound::None.is_met_by(1.0), None);
    }

    #[test]
    fn numbers_have_the_digits_that_count() {
        let shown: Vec<_> =
            [1.256, 12.34, 123.4, 1234.5, 300_000.0, 1_234_567.0, 60.0].map(number).into();
        assert_eq!(shown, ["1.26", "12.3", "123", "1234", "300,000", "1,234,567", "60"]);
    }
}
