//! Spreads delays by 20 % either way, so that many who failed at once do not come back at once.

use std::time::Duration;

/// A sequence of made-up numbers (SplitMix64, Steele et al. 2014); the same seed gives the same ones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Jitter {
    state: Option<u64>,
}

impl Jitter {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: Some(seed) }
    }

    /// None at all: what is simulated is the same each time.
    pub(super) fn none() -> Self {
        Self { state: None }
    }

    fn next(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 80 % to 120 % of `delay`, in whole thousandths.
    pub(super) fn spread(&mut self, delay: Duration) -> Duration {
        let Some(state) = &mut self.state else {
            return delay;
        };
        let thousandths = 800 + u32::try_from(Self::next(state) % 401).unwrap_or(200);
        delay.saturating_mul(thousandths) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_spread_by_a_fifth_either_way() {
        let mut jitter = Jitter::new(7);
        let delays: Vec<Duration> = (0..1000)
            .map(|_| jitter.spread(Duration::from_secs(10)))
            .collect();
        let (least, most) = (delays.iter().min(), delays.iter().max());
        assert!(least.is_some_and(|least| (8000..8100).contains(&least.as_millis())));
        assert!(most.is_some_and(|most| (11_900..=12_000).contains(&most.as_millis())));
        assert_eq!(jitter.spread(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn the_numbers_are_those_of_splitmix() {
        let mut state = 1_234_567;
        assert_eq!(Jitter::next(&mut state), 6_457_827_717_110_365_317);
        assert_eq!(Jitter::next(&mut state), 3_203_168_211_198_807_973);
    }
}
