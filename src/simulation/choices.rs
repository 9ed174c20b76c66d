//! The choices that make a story: made up from a seed, written down as they are made, and given back when the story
//! is told anew.

use std::time::Duration;

/// Made-up numbers (SplitMix64, Steele et al. 2014); the same seed gives the same ones.
#[derive(Clone, Debug)]
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// See the module's first sentence. 0 is always the choice with which the least happens, and it is what comes once
/// those that were given are used up.
#[derive(Clone, Debug, Default)]
pub(super) struct Choices {
    made: Vec<u32>,
    next: usize,
    source: Option<Numbers>,
}

/// The times that are chosen from: those of options, a little less and a little more, so that things coincide.
const MILLIS: [u64; 36] = [
    0, 0, 0, 1, 2, 5, 10, 20, 50, 99, 100, 101, 200, 400, 500, 700, 999, 1_000, 1_001, 1_500,
    2_000, 2_500, 3_000, 4_999, 5_000, 5_001, 8_000, 9_900, 10_000, 10_001, 20_000, 30_000, 30_001,
    60_000, 61_000, 120_000,
];

impl Choices {
    pub(super) fn made_up(seed: u64) -> Self {
        Self {
            source: Some(Numbers::new(seed)),
            ..Self::default()
        }
    }

    pub(super) fn given(made: &[u32]) -> Self {
        Self {
            made: made.to_vec(),
            ..Self::default()
        }
    }

    /// All that were made, or were asked for.
    pub(super) fn made(&self) -> &[u32] {
        &self.made[..self.next.min(self.made.len())]
    }

    pub(super) fn below(&mut self, bound: u32) -> u32 {
        let choice = match (self.made.get(self.next), &mut self.source) {
            (Some(made), _) => *made % bound,
            (None, None) => 0,
            (None, Some(numbers)) => {
                let choice = u32::try_from(numbers.next() % u64::from(bound)).unwrap_or(0);
                self.made.push(choice);
                choice
            }
        };
        self.next += 1;
        choice
    }

    /// True in one of so many cases.
    pub(super) fn one_in(&mut self, cases: u32) -> bool {
        self.below(cases) + 1 == cases
    }

    pub(super) fn of<T: Copy>(&mut self, all: &[T]) -> T {
        let bound = u32::try_from(all.len()).unwrap_or(1);
        all[self.below(bound) as usize]
    }

    pub(super) fn time(&mut self) -> Duration {
        Duration::from_millis(self.of(&MILLIS))
    }

    /// At most a second.
    pub(super) fn short_time(&mut self) -> Duration {
        Duration::from_millis(self.of(&MILLIS[..18]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_splitmix() {
        let mut numbers = Numbers::new(1_234_567);
        assert_eq!(numbers.next(), 6_457_827_717_110_365_317);
        assert_eq!(numbers.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn choices_that_were_made_can_be_given_again() {
        let mut first = Choices::made_up(7);
        let made: Vec<u32> = (1..50).map(|bound| first.below(bound)).collect();
        assert_eq!(first.made(), made);
        let mut again = Choices::given(first.made());
        let given: Vec<u32> = (1..50).map(|bound| again.below(bound)).collect();
        assert_eq!(given, made);
        assert_eq!(again.below(9), 0);
        assert!(!again.one_in(2));
    }
}
