//! How many of the chunkservers each failure domain gets.

/// The share of each weight in `seats`: every seat goes to whoever has fewest for its weight (Adams' method), the heavier
/// first, then the earlier. A seat once given stays: with more seats no share is smaller.
pub(super) fn shares(weights: &[u32], seats: u32) -> Vec<u32> {
    let mut shares = vec![0_u32; weights.len()];
    let filled = |share: u32, weight: u32| u64::from(share) * u64::from(weight);
    for _ in 0..seats {
        let next = (0..weights.len()).min_by(|&a, &b| {
            let fewer = filled(shares[a], weights[b]).cmp(&filled(shares[b], weights[a]));
            fewer.then(weights[b].cmp(&weights[a]))
        });
        if let Some(next) = next {
            shares[next] += 1;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_domain_gets_one_before_any_gets_more_than_its_weight_says() {
        assert_eq!(shares(&[1], 3), [3]);
        assert_eq!(shares(&[1, 1, 1], 3), [1, 1, 1]);
        assert_eq!(shares(&[1, 1, 1], 4), [2, 1, 1]);
        assert_eq!(shares(&[2, 1, 1], 8), [4, 2, 2]);
        assert_eq!(shares(&[1, 100], 1), [0, 1]);
        assert_eq!(shares(&[1, 100], 2), [1, 1]);
        assert_eq!(shares(&[1, 1], 0), [0, 0]);
        assert_eq!(shares(&[], 5), [0_u32; 0]);
    }

    proptest! {
        #[test]
        fn more_seats_take_none_away_and_all_are_given(
            weights in vec(1..=100_u32, 1..=16),
            seats in 0..200_u32,
        ) {
            let (before, after) = (shares(&weights, seats), shares(&weights, seats + 1));
            prop_assert_eq!(before.iter().sum::<u32>(), seats);
            prop_assert_eq!(after.iter().sum::<u32>(), seats + 1);
            prop_assert!(before.iter().zip(&after).all(|(before, after)| before <= after));
        }

        #[test]
        fn equal_weights_differ_by_one_at_most(domains in 1..=16_usize, seats in 0..200_u32) {
            let shares = shares(&vec![7; domains], seats);
            let (most, least) = (shares.iter().max(), shares.iter().min());
            prop_assert!(most.copied() <= least.map(|least| least + 1));
        }
    }
}
