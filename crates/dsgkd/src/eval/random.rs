//! The random numbers of the bootstrap: xoshiro256++ 1.0 (Blackman & Vigna, "Scrambled linear pseudorandom number
//! generators", ACM TOMS 2021), its state filled by SplitMix64 as its authors advise.
//!
//! Our own thirty lines rather than a dependency, because a published interval must come out the same in ten years:
//! a library's generator may change between versions, this one may not.

/// A generator; [`Random::stream`] gives each piece of parallel work its own.
#[derive(Debug, Clone)]
pub struct Random {
    state: [u64; 4],
}

/// 2^64 divided by the golden ratio: the step of SplitMix64.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The output function of SplitMix64: a bijection that scatters neighbouring inputs.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

impl Random {
    /// The generator of one seed.
    pub fn new(seed: u64) -> Self {
        let mut counter = seed;
        let state = std::array::from_fn(|_| {
            counter = counter.wrapping_add(GOLDEN);
            mix(counter)
        });
        Random { state }
    }

    /// The `index`-th independent generator of a seed. Work numbered by `index` draws the same numbers whichever
    /// thread does it.
    pub fn stream(seed: u64, index: u64) -> Self {
        // Mixing the seed first keeps (seed, index + 1) and (seed + 1, index) apart.
        Random::new(mix(mix(seed.wrapping_add(GOLDEN)).wrapping_add(index)))
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let state = &mut self.state;
        let result = state[0].wrapping_add(state[3]).rotate_left(23).wrapping_add(state[0]);
        let shifted = state[1] << 17;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= shifted;
        state[3] = state[3].rotate_left(45);
        result
    }

    /// A number in `0..bound`, every one equally likely (Lemire, "Fast random integer generation in an interval",
    /// ACM TOMACS 2019). `bound` 0 gives 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = bound as u64;
        if bound == 0 {
            return 0;
        }
        // 2^64 mod bound low halves are drawn once too often; those draws are thrown away.
        let unfair = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            if product as u64 >= unfair {
                return (product >> 64) as usize;
            }
        }
    }

    /// Moves `count` items drawn without replacement to the front of `items`, in random order (the first `count` steps of
    /// the Fisher-Yates shuffle).
    pub fn draw_to_front<T>(&mut self, items: &mut [T], count: usize) {
        for place in 0..count.min(items.len()) {
            let chosen = place + self.below(items.len() - place);
            items.swap(place, chosen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_gives_the_published_numbers() {
        let mut random = Random { state: [1, 2, 3, 4] };
        let drawn: Vec<u64> = (0..4).map(|_| random.next_u64()).collect();
        assert_eq!(drawn, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
        assert_eq!(Random::new(0).state[0], 0xE220_A839_7B1D_CDAF);
    }

    #[test]
    fn streams_differ_and_repeat() {
        let first: Vec<u64> = (0..100).map(|index| Random::stream(7, index).next_u64()).collect();
        let again: Vec<u64> = (0..100).map(|index| Random::stream(7, index).next_u64()).collect();
        assert_eq!(first, again);
        let distinct: std::collections::BTreeSet<u64> = first.iter().copied().collect();
        assert_eq!(distinct.len(), 100);
        assert_ne!(Random::stream(7, 1).next_u64(), Random::stream(8, 0).next_u64());
    }

    #[test]
    fn below_is_even() {
        let mut random = Random::new(3);
        let mut counts = [0usize; 6];
        for _ in 0..60_000 {
            counts[random.below(6)] += 1;
        }
        // Six standard deviations of a binomial count of mean 10,000; the seed is fixed, so this never flickers.
        assert!(counts.iter().all(|&count| count.abs_diff(10_000) < 550), "{counts:?}");
        assert_eq!(random.below(0), 0);
        assert_eq!(random.below(1), 0);
    }

    #[test]
    fn draws_without_replacement_keep_every_item() {
        let mut items: Vec<usize> = (0..50).collect();
        Random::new(1).draw_to_front(&mut items, 20);
        assert_ne!(items[..20], (0..20).collect::<Vec<_>>()[..]);
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
