//! Parquet's hybrid of run lengths and bit packing: for dictionary codes, and for
//! definition levels.

use super::{
    bit_pack::{GROUP, pack},
    varint,
};

/// A run of equal values must save so many bits: where they are few, packing them is
/// cheaper than to end what is packed and to begin it again.
const RUN_MIN_BITS: usize = 32;

/// Appends `codes`, each below 2 to the power of `width`.
pub(super) fn encode(codes: &[u32], width: u32, to: &mut Vec<u8>) {
    let run_min = match width {
        0 => return push_run(codes.len(), 0, width, to),
        width => (RUN_MIN_BITS / width as usize).max(GROUP),
    };
    let (mut at, mut packed) = (0, 0);
    while at < codes.len() {
        let run = run_length(&codes[at..]);
        if run < run_min {
            // Whole groups, or else bits that stand for nothing would come in between.
            at = (at + run.next_multiple_of(GROUP).max(GROUP)).min(codes.len());
            continue;
        }
        push_packed(&codes[packed..at], width, to);
        push_run(run, codes[at], width, to);
        at += run;
        packed = at;
    }
    push_packed(&codes[packed..], width, to);
}

/// How many values at the beginning are equal; 0 if they are not even a group.
fn run_length(codes: &[u32]) -> usize {
    let Some(&first) = codes.first() else { return 0 };
    let (groups, _) = codes.as_chunks::<GROUP>();
    // Without a branch for each value, so that they are compared several at a time.
    let differs = |group: &&[u32; GROUP]| group.iter().fold(0, |any, code| any | code ^ first) != 0;
    let same = groups.iter().take_while(|group| !differs(group)).count() * GROUP;
    if same == 0 {
        return 0;
    }
    same + codes[same..].iter().take_while(|&&code| code == first).count()
}

/// Appends a run of a value that fits into `width` bits.
pub(super) fn push_run(length: usize, value: u32, width: u32, to: &mut Vec<u8>) {
    if length > 0 {
        varint::push((length as u64) << 1, to);
        to.extend_from_slice(&value.to_le_bytes()[..width.div_ceil(8) as usize]);
    }
}

/// Appends the header of so many packed groups.
pub(super) fn push_packed_header(groups: usize, to: &mut Vec<u8>) {
    varint::push((groups as u64) << 1 | 1, to);
}

/// Appends packed values; those that the last group lacks are zero.
fn push_packed(codes: &[u32], width: u32, to: &mut Vec<u8>) {
    if codes.is_empty() {
        return;
    }
    push_packed_header(codes.len().div_ceil(GROUP), to);
    pack(codes, width, to);
    let rest = codes.as_chunks::<GROUP>().1;
    if !rest.is_empty() {
        let mut last = [0; GROUP];
        last[..rest.len()].copy_from_slice(rest);
        pack(&last, width, to);
    }
}

#[cfg(test)]
mod tests {
    use super::encode;

    /// What readers make of it, by the definition.
    fn decode(mut bytes: &[u8], width: usize, count: usize) -> Vec<u32> {
        let mut codes = Vec::new();
        while codes.len() < count {
            let mut header = 0;
            for shift in (0..).step_by(7) {
                let (byte, rest) = bytes.split_first().unwrap();
                header |= usize::from(byte & 0x7f) << shift;
                bytes = rest;
                if *byte < 0x80 {
                    break;
                }
            }
            let (values, length) = match header & 1 {
                0 => (1, width.div_ceil(8)),
                _ => (header / 2 * 8, header / 2 * width),
            };
            let (packed, rest) = bytes.split_at(length);
            bytes = rest;
            let bit = |at: usize| u32::from(packed[at / 8] >> (at % 8) & 1);
            let value = |at: usize| (0..width).map(|of| bit(at * width + of) << of).sum::<u32>();
            match header & 1 {
                0 => codes.extend(vec![value(0); header / 2]),
                _ => codes.extend((0..values).map(value)),
            }
        }
        assert!(bytes.is_empty());
        codes.truncate(count);
        codes
    }

    #[test]
    fn runs_of_any_length_at_any_place_come_back() {
        let mut random = 7_u32;
        let mut next = |below: u32| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) % below
        };
        for width in [0, 1, 2, 3, 7, 8, 9, 15, 17, 20] {
            for longest in [1, 9, 70, 900] {
                let mut codes = Vec::new();
                while codes.len() < 1000 {
                    let code = next(1 << width);
                    codes.extend(vec![code; 1 + next(longest) as usize]);
                    codes.extend((0..next(20)).map(|_| next(1 << width)));
                }
                for count in [0, 1, 7, 8, 9, 63, 999, codes.len()] {
                    let mut bytes = Vec::new();
                    encode(&codes[..count], width, &mut bytes);
                    let back = decode(&bytes, width as usize, count);
                    assert_eq!(back, codes[..count], "{width} {longest} {count}");
                }
            }
        }
    }

    #[test]
    fn a_page_of_one_value_takes_a_few_bytes() {
        let mut bytes = Vec::new();
        encode(&[5; 20_000], 3, &mut bytes);
        assert_eq!(bytes, [0xc0, 0xb8, 0x02, 5]);
    }
}
